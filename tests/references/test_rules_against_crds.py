"""The same rules through the crds package: the answers must be the same for any rules and any exposure."""

from __future__ import annotations

import random

import pytest

from roman_nexus.references.mappings import read_rmap
from roman_nexus.references.rules import select

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
DETECTORS = ["WFI01", "WFI02", "*", "N/A", "WFI01|WFI02", "WFI02|WFI03"]
ELEMENTS = ["F158", "F129", "F158|F129", "*", "N/A", "F184|F129|"]
HEADER = """header = {
    'classes' : ('Match', 'UseAfter'), 'derived_from' : 'x', 'file_ext' : '.asdf', 'filekind' : 'FLAT',
    'filetype' : 'FLAT', 'instrument' : 'WFI', 'mapping' : 'REFERENCE', 'name' : 'roman_wfi_flat_0004.rmap',
    'observatory' : 'ROMAN', 'sha1sum' : 'x', 'suffix' : 'flat', 'text_descr' : 'Flat',
    'parkey' : (('ROMAN.META.INSTRUMENT.DETECTOR', 'ROMAN.META.INSTRUMENT.OPTICAL_ELEMENT'),
                ('ROMAN.META.EXPOSURE.START_TIME',)),
}
"""


def random_rules(rng: random.Random) -> str:
    entries = {}
    for _ in range(rng.randint(0, 6)):
        times = [f"20{rng.randint(20, 30)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)} 12:00:00" for _ in range(3)]
        files = {time: rng.choice(["N/A", *(f"roman_wfi_flat_{i:04d}.asdf" for i in range(1, 30))]) for time in times}
        entries[rng.choice(DETECTORS), rng.choice(ELEMENTS)] = files
    lines = [f"    {key!r} : UseAfter({files!r})," for key, files in entries.items()]
    return HEADER + "selector = Match({\n" + "\n".join(lines) + "\n})\n"


@pytest.mark.parametrize("seed", range(20))
def test_answers_equal_those_of_the_crds_package(seed: int) -> None:
    rmap = pytest.importorskip("crds.core.rmap")
    rng = random.Random(seed)
    for _ in range(25):
        text = random_rules(rng)
        mapping = rmap.ReferenceMapping.from_string(text, "roman_wfi_flat_0004.rmap", ignore_checksum=True)
        exposure = {
            "ROMAN.META.INSTRUMENT.DETECTOR": rng.choice(["WFI01", "WFI02", "WFI03", "WFI11", "N/A"]),
            "ROMAN.META.INSTRUMENT.OPTICAL_ELEMENT": rng.choice(["F158", "F129", "F213", "N/A"]),
            "ROMAN.META.EXPOSURE.START_TIME": f"20{rng.randint(19, 31)}-06-15T12:00:00.000",
        }
        try:
            theirs = mapping.get_best_ref(dict(exposure))
        except Exception as error:
            theirs = f"NOT FOUND {error}"
        chosen = select("flat", exposure, read_rmap(text).candidates).chosen
        ours = "NOT FOUND" if chosen is None else "NOT FOUND n/a" if chosen.name == "N/A" else chosen.file
        assert ours == (theirs if theirs == "NOT FOUND n/a" or not theirs.startswith("NOT") else "NOT FOUND")
