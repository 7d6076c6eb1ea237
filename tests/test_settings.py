from pathlib import Path

import pytest

from roman_nexus.errors import OptionError
from roman_nexus.settings import config_file, load


def test_order_of_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    path = config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("threads = 3\ncache_limit_gb = 5\n")
    assert (load().threads, load().cache_limit_gb) == (3, 5.0)
    monkeypatch.setenv("ROMAN_NEXUS_THREADS", "4")
    assert load().threads == 4
    assert load(threads=1).worker_threads == 1
    assert load(threads=None).threads == 4


def test_bad_values_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROMAN_NEXUS_THREADS", "many")
    with pytest.raises(OptionError, match=r"threads from ROMAN_NEXUS_THREADS is 'many'; expected int"):
        load()
    monkeypatch.setenv("ROMAN_NEXUS_THREADS", "-1")
    with pytest.raises(OptionError, match="threads is -1"):
        load()


def test_unknown_setting_in_file_is_named() -> None:
    path = config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("colour = 'red'\n")
    with pytest.raises(OptionError, match="'colour'.*config.toml"):
        load()
    path.write_text("threads = [")
    with pytest.raises(OptionError, match="not valid TOML"):
        load()


def test_words_for_yes_and_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROMAN_NEXUS_PROGRESS", "yes")
    assert load().progress is True
    monkeypatch.setenv("ROMAN_NEXUS_PROGRESS", "perhaps")
    with pytest.raises(OptionError, match="perhaps"):
        load()


def test_scratch_lies_in_the_cache_by_default() -> None:
    assert load(cache_dir="/some/where").scratch_path == Path("/some/where/scratch")
    assert load(scratch_dir="/else").scratch_path == Path("/else")
