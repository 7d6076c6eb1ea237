"""A34: every row of the specification's table of bad input gives the documented error, naming the offending item."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from compare import Row, statement

import roman_nexus as rn
from roman_nexus.errors import (
    DataWarning,
    FileFormatError,
    InputError,
    MissingReferenceWarning,
    OutputError,
    ProductLevelError,
    ReferenceMismatchError,
    ReferenceNotFoundError,
    RomanNexusWarning,
    ShapeError,
    StepError,
)

MISMATCH = (ReferenceMismatchError, ShapeError, InputError)


@contextmanager
def unchecked() -> Iterator[None]:
    """Let asdf write what no schema allows."""
    import asdf.schema

    validate = asdf.schema.validate
    asdf.schema.validate = lambda *given, **how: None
    try:
        yield
    finally:
        asdf.schema.validate = validate


def edited(source: Path, target: Path, change: Callable[[Any], None]) -> Path:
    """Copy an ASDF file with a change to its tree."""
    import asdf

    with unchecked(), asdf.open(source, memmap=False, lazy_load=False) as file:
        tree = plain(file["roman"])
        change(tree)
        asdf.AsdfFile({"roman": retagged(file["roman"], tree)}).write_to(target)
    return target


def plain(node: Any) -> Any:
    """Nested dictionaries and lists of a tree; arrays and objects as they are."""
    if hasattr(node, "items"):
        return {key: plain(value) for key, value in node.items()}
    if type(node).__name__ in ("LNode", "lazy_list", "list"):
        return [plain(value) for value in node]
    return np.array(node) if hasattr(node, "__array__") and hasattr(node, "shape") else node


def retagged(node: Any, tree: dict[str, Any]) -> Any:
    """The changed tree with the tag of the original, so that its kind is known."""
    fresh = type(node)() if hasattr(node, "_read_tag") else {}
    for key, value in tree.items():
        fresh[key] = value
    if hasattr(node, "_read_tag"):
        object.__setattr__(fresh, "_read_tag", node._read_tag)
    return fresh


class Bench:
    """Small files to spoil, and the answers."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self.good = folder / "wfi_image_uncal.asdf"
        self.rows: list[Row] = []

    def level1(self, **changes: Any) -> Path:
        """A Level 1 file with some values changed; names are dotted paths below ``roman``, with __ for the dots."""

        def change(tree: Any) -> None:
            for name, value in changes.items():
                *groups, last = name.split("__")
                node = tree
                for group in groups:
                    node = node[group]
                if value is ...:
                    node.pop(last, None)
                else:
                    node[last] = value(node.get(last)) if callable(value) else value

        return edited(self.good, self.scratch / "spoilt_uncal.asdf", change)

    def reference(self, reftype: str, change: Callable[[Any], None]) -> dict[str, Path]:
        """An override with a change."""
        source = self.folder / "references" / f"{reftype}_WFI01.asdf"
        return {reftype: edited(source, self.scratch / f"spoilt_{reftype}.asdf", change)}

    def run(self, path: Path, **how: Any) -> Any:
        return rn.reprocess(path, source=self.folder / "references", cache=False, progress=False, **how)

    def refused(self, what: str, kind: Any, words: str, call: Callable[[], Any]) -> None:
        """The call must raise this class with a message that has these words."""
        kinds = kind if isinstance(kind, tuple) else (kind,)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call()
        except Exception as error:  # whatever it is, it is judged here
            good = isinstance(error, kinds) and all(word in str(error) for word in words.split("|"))
            note = f"{type(error).__name__}: {error}"
        else:
            good, note = False, "no error"
        self.rows.append(statement("A34", what, [good], note if good else f"wanted {words!r}, got {note}"))

    def warned(self, what: str, kind: type[Warning], words: str, call: Callable[[], Any], good: Any = None) -> None:
        """The call must succeed with a warning of this class; `good` looks at what it returns."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = call()
            except Exception as error:  # judged here
                self.rows.append(statement("A34", what, [False], f"{type(error).__name__}: {error}"))
                return
        texts = [str(item.message) for item in caught if issubclass(item.category, (kind, RomanNexusWarning))]
        found = any(all(word in text for word in words.split("|")) for text in texts) if words else True
        right = good is None or bool(good(result))
        self.rows.append(statement("A34", what, [found, right], "; ".join(texts) or "no warning"))


def files(bench: Bench) -> None:
    text = bench.scratch / "text_uncal.asdf"
    text.write_text("this is not ASDF")
    bench.refused("file that is not ASDF", FileFormatError, "text_uncal.asdf", lambda: bench.run(text))
    cut = bench.scratch / "cut_uncal.asdf"
    cut.write_bytes(bench.good.read_bytes()[: bench.good.stat().st_size // 2])
    bench.refused("truncated file", FileFormatError, "cut_uncal.asdf", lambda: bench.run(cut))
    import asdf

    bare = bench.scratch / "bare_uncal.asdf"
    asdf.AsdfFile({"other": 1}).write_to(bare)
    bench.refused("no roman tree", FileFormatError, "bare_uncal.asdf|roman", lambda: bench.run(bare))
    flat = bench.folder / "references" / "flat_WFI01.asdf"
    bench.refused("neither Level 1 nor ramp", ProductLevelError, "flat", lambda: bench.run(flat))
    gone = bench.scratch / "gone_uncal.asdf"
    bench.refused("no such file", (FileFormatError, InputError), "gone_uncal.asdf", lambda: bench.run(gone))


def arrays(bench: Bench) -> None:
    def spoil(what: str, kind: Any, words: str, **changes: Any) -> None:
        bench.refused(what, kind, words, lambda: bench.run(bench.level1(**changes)))

    spoil("data not uint16", ShapeError, "data|float32", data=lambda a: a.astype(np.float32))
    spoil("amp33 of another shape", ShapeError, "amp33", amp33=lambda a: a[:, :-1])
    spoil("resultantdq of another shape", ShapeError, "resultantdq", resultantdq=np.zeros((4, 3, 3), np.uint8))
    spoil("reference_read of another shape", ShapeError, "reference_read", reference_read=np.zeros((9, 9), np.uint16))
    pattern = "meta__exposure__read_pattern"
    spoil("read pattern shorter than the ramp", InputError, "read pattern|3|4", **{pattern: [[1], [2], [3]]})
    spoil("empty resultant", InputError, "resultant 1|no reads", **{pattern: [[1], [], [3], [4]]})
    spoil("reads out of order", InputError, "read 2", **{pattern: [[1], [3, 2], [4], [5]]})
    spoil("read in two resultants", InputError, "read 2", **{pattern: [[1], [2], [2], [3]]})
    spoil("nresultants of another number", InputError, "nresultants|7", meta__exposure__nresultants=7)
    for value in (0.0, -3.0, float("nan"), float("inf")):
        spoil(f"frame_time {value}", InputError, "frame_time", meta__exposure__frame_time=value)
    for count in (1, 2, 3):
        few = {name: lambda a, n=count: a[:n] for name in ("data", "amp33")}
        few |= {"meta__exposure__nresultants": count, pattern: [[read + 1] for read in range(count)]}
        words = "4 resultants" if count > 1 else "resultant"
        spoil(f"{count} resultants with the likelihood fit", InputError, words, **few)
    spoil("detector WFI19", InputError, "detector|WFI19", meta__instrument__detector="WFI19")
    spoil("unknown exposure type", InputError, "exposure.type|WFI_NONE", meta__exposure__type="WFI_NONE")
    spoil("encoding offset 70000", InputError, "data_encoding_offset|70000",
          meta__instrument__data_encoding_offset=70000)  # fmt: skip
    spoil("amp33 below zero", InputError, "amp33", meta__instrument__data_encoding_offset=6000)
    for name in ("v2_ref", "v3_ref", "ra_ref", "dec_ref", "roll_ref"):
        spoil(f"{name} is the placeholder", InputError, name, **{f"meta__wcsinfo__{name}": -999999})
    spoil("ra_ref is NaN", InputError, "ra_ref", meta__wcsinfo__ra_ref=float("nan"))
    option = {"assign_wcs": {"allow_missing_pointing": True}}
    lost = bench.level1(meta__wcsinfo__ra_ref=-999999)
    bench.warned("no pointing, allowed by option", DataWarning, "",
                 lambda: bench.run(lost, options=option), lambda run: run.image.wcs is None)  # fmt: skip


def oddities(bench: Bench) -> None:
    window = bench.level1(meta__guide_star__window_xstop=400)
    bench.warned("guide window partly outside", DataWarning, "guide window", lambda: bench.run(window))
    backwards = bench.level1(meta__guide_star__window_xstop=90)
    bench.warned("guide window stops before it starts", DataWarning, "guide window", lambda: bench.run(backwards))
    for value in (0.0, -1.0):
        path = bench.level1(meta__velocity_aberration__scale_factor=value)
        bench.warned(f"velocity aberration {value}", DataWarning, "aberration", lambda path=path: bench.run(path))
    path = bench.level1(meta__velocity_aberration__scale_factor=None)
    bench.warned(
        "velocity aberration None", DataWarning, "", lambda: bench.run(path), lambda run: run.image.wcs is not None
    )
    other = bench.level1(meta__instrument__optical_element="F184")
    waive = {reftype: ["optical_element"] for reftype in ("flat", "dark", "distortion")}
    overrides = {reftype: bench.folder / "references" / f"{reftype}_WFI01.asdf" for reftype in waive}

    def placeholders(run: Any) -> bool:
        meta = run.image.meta
        return meta["photometry"]["pixel_area"] == -999999 and meta["cal_step"]["photom"] == "COMPLETE"

    bench.warned("element not in the photom table", DataWarning, "photom|F184",
                 lambda: bench.run(other, references=overrides, waive=waive), placeholders)  # fmt: skip


def references(bench: Bench) -> None:
    def spoil(what: str, reftype: str, words: str, change: Callable[[Any], None]) -> None:
        given = bench.reference(reftype, change)
        bench.refused(what, MISMATCH, words, lambda: bench.run(bench.good, references=given))

    for reftype in ("gain", "readnoise", "darkdecaysignal"):
        bench.refused(f"no {reftype}", ReferenceNotFoundError, f"{reftype}|WFI01",
                      lambda reftype=reftype: without(bench, reftype))  # fmt: skip
    for reftype in ("mask", "saturation", "refpix", "linearity", "dark", "distortion", "photom", "flat"):
        bench.warned(f"no {reftype}", MissingReferenceWarning, reftype, lambda reftype=reftype: without(bench, reftype))
    bench.refused("no flat, strict", ReferenceNotFoundError, "flat", lambda: without(bench, "flat", strict=True))
    planes = {"mask": "dq", "saturation": "data", "gain": "data", "readnoise": "data", "dark": "dark_slope",
              "flat": "data", "linearity": "coeffs", "inverselinearity": "coeffs"}  # fmt: skip
    for reftype, name in planes.items():

        def cut(tree: Any, name: str = name) -> None:
            tree[name] = tree[name][..., :-8]

        spoil(f"{reftype} of another shape", reftype, f"{reftype}|{name}", cut)
    for reftype, name in {"gain": "data", "mask": "dq", "flat": "data"}.items():

        def convert(tree: Any, name: str = name) -> None:
            tree[name] = tree[name].astype(np.complex64)

        spoil(f"{reftype} of another type", reftype, f"{reftype}|{name}", convert)
    for name in ("gamma", "alpha"):

        def shorten(tree: Any, name: str = name) -> None:
            tree[name] = tree[name][:, :-1]

        spoil(f"refpix {name} of another length", "refpix", f"refpix|{name}", shorten)
    for name, value in (("amplitude", None), ("time_constant", None), ("time_constant", 0.0), ("time_constant", -4.0)):

        def decay(tree: Any, name: str = name, value: Any = value) -> None:
            tree["decay_table"]["WFI01"][name] = value

        spoil(f"dark decay {name} {value}", "darkdecaysignal", name, decay)

    def lack(tree: Any) -> None:
        del tree["inl_table"]["science_channel_02"]

    def null(tree: Any) -> None:
        tree["inl_table"]["science_channel_02"]["correction"] = None

    def swap(tree: Any) -> None:
        tree["value"][[5, 6]] = tree["value"][[6, 5]]

    spoil("INL without a channel", "integralnonlinearity", "science_channel_02", lack)
    spoil("INL with a null channel", "integralnonlinearity", "science_channel_02", null)
    spoil("INL abscissa not increasing", "integralnonlinearity", "value", swap)

    def nothing(tree: Any) -> None:
        tree["data"] = np.full_like(tree["data"], np.nan)

    spoil("gain all NaN", "gain", "gain", nothing)
    foreign = {"gain": bench.folder / "references" / "gain_WFI18.asdf"}
    bench.refused("reference of another detector", ReferenceMismatchError, "gain|WFI18|WFI01",
                  lambda: bench.run(bench.good, references=foreign))  # fmt: skip
    bench.warned("reference of another detector, waived", DataWarning, "",
                 lambda: bench.run(bench.good, references=foreign, waive={"gain": ["detector"]}))  # fmt: skip


def without(bench: Bench, missing: str, **how: Any) -> Any:
    """Run with every reference but one, and a source that has none."""
    empty = bench.scratch / "no references"
    empty.mkdir(exist_ok=True)
    names = [path.name for path in (bench.folder / "references").glob("*_WFI01.asdf")]
    given = {name.split("_")[0]: bench.folder / "references" / name for name in names}
    del given[missing]
    return rn.reprocess(bench.good, references=given, source=empty, cache=False, progress=False, **how)


def products(bench: Bench) -> None:
    run = bench.run(bench.good)
    blocked = bench.scratch / "blocked"
    blocked.write_text("")
    bench.refused("output that cannot be written", OutputError, "blocked", lambda: run.save(blocked / "out"))
    (level2,) = run.save(bench.scratch / "made", wcs=False)
    bench.refused("Level 2 given to a ramp step", (StepError, InputError), "linearity",
                  lambda: bench.run(level2, start="linearity"))  # fmt: skip
    bench.refused("flat applied twice", (StepError, InputError), "flat_field",
                  lambda: bench.run(level2, start="flat_field"))  # fmt: skip
    (ramp,) = bench.run(bench.good, stop="linearity").save(bench.scratch / "made")
    bench.refused("linearity applied twice", (StepError, InputError), "linearity",
                  lambda: bench.run(ramp, start="linearity"))  # fmt: skip


def a34(folder: Path) -> list[Row]:
    """Spoil the small files in every way."""
    bench = Bench(folder, folder / "spoilt")
    for part in (files, arrays, oddities, references, products):
        try:
            part(bench)
        except Exception as error:  # the part could not even be set up
            bench.rows.append(statement("A34", part.__name__, [False], f"{type(error).__name__}: {error}"))
    return bench.rows
