from __future__ import annotations

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from roman_nexus.comparison import compare
from roman_nexus.errors import OptionError, OutputError


@pytest.fixture
def found(noisy):
    return compare(*noisy)


@pytest.fixture
def found_ramp(ramp):
    random = np.random.default_rng(1)
    old, new = ramp((3, 200, 256)), ramp((3, 200, 256))
    new.data += random.normal(0.3, 0.1, new.data.shape).astype(np.float32)
    new.groupdq[1, :20] |= 2
    new.groupdq[2, 40] |= 4
    old.pixeldq[7] |= 1 << 11
    return compare(new, old)


def decode(png):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_text_says_it_all(found):
    text = str(found)
    assert repr(found) == text
    assert "rerun    mine_cal.asdf" in text
    assert "Different: data, dq, flat reference, 1 metadata key." in text
    assert re.search(
        r"data is NaN in 3 pixels of the rerun only and 0 of the archive only, first at \(x 0, y 0\)", text
    )
    assert re.search(r"^ +dq +NO_FLAT_FIELD +100 +0$", text, re.M)
    assert re.search(r"^ +dq +JUMP_DET +0 +4$", text, re.M)
    assert re.search(r"^ +flat +/home/me/my_flat.asdf +roman_wfi_flat_0001.asdf +another file$", text, re.M)
    assert re.search(r"^ +exposure.note +<script>alert\(1\)</script> +not set \(\?\)$", text, re.M)
    assert "changed by any rerun: filename" in text
    assert max(map(len, text.splitlines())) < 180


def test_numbers_of_the_text_are_those_of_the_result(found):
    row = next(line for line in str(found).splitlines() if re.match(r" +data +209,997 +\S+ +\S+ +\S+ +\d+$", line))
    cells = row.split()
    plane = found.plane("data")
    assert float(cells[2]) == pytest.approx(plane.error_median, rel=1e-3)
    assert float(cells[3]) == pytest.approx(plane.error_scatter, rel=1e-3)
    assert int(cells[5]) == plane.beyond_threshold


def test_coordinates_in_the_text(image):
    class Sky:
        def __init__(self, dec):
            self.dec = dec

        def pixel_to_world_values(self, x, y):
            return 10 + 1e-5 * x, self.dec + 1e-5 * y

    old = image(meta={"wcs": Sky(0.0)})
    assert "the same to 0.001 mas at 81 pixels" in str(compare(old, old))
    moved = compare(image(meta={"wcs": Sky(2 / 3.6e6)}), old)
    assert "median 2 mas, largest 2 mas" in str(moved)
    assert "+2 mas north" in str(moved)
    assert moved.differing == ("coordinates",)


class _Reader(HTMLParser):
    """Collects the rows of tables and checks that tags are closed."""

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.cell = [], [], None

    def handle_starttag(self, tag, attrs):
        if tag in ("br", "meta", "img"):
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = ""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def read_html(html):
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader.rows


def test_html_has_the_tables_and_nothing_of_the_file_gets_through(found):
    html = found._repr_html_()
    rows = read_html(html)
    assert ["dq", "NO_FLAT_FIELD", "100", "0"] in rows
    assert ["exposure.note", "<script>alert(1)</script>", "not set (?)"] in rows
    assert "<script" not in html
    assert "rn-different" in html
    data = next(row for row in rows if row[:2] == ["data", "DN/s"])
    assert data[2] == "209,997"


def test_html_leaves_the_colours_of_text_and_ground_to_the_page(found):
    style = re.search(r"<style>(.*?)</style>", found._repr_html_(), re.S).group(1)
    assert set(re.findall(r"(?<![-\w])color: *([^;}]+)", style)) == {"inherit"}
    grounds = re.findall(r"background: *([^;}]+)", style)
    assert all(ground.strip() == "transparent" or ground.startswith("rgba(128, 128, 128") for ground in grounds)


def test_long_tables_are_folded(image):
    old, new = image(), image()
    new.meta = {"exposure": {f"key_{number}": number for number in range(40)}}
    old.meta = {"exposure": {f"key_{number}": -number - 1 for number in range(40)}}
    html = compare(new, old)._repr_html_()
    assert "<details><summary>40 rows</summary>" in html


def test_png_has_its_size_and_is_not_blank(found, tmp_path):
    target = found.save(tmp_path / "picture.png")
    pixels = decode(target.read_bytes())
    assert pixels.shape == (1034, 1595, 3)
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 3
    for row in range(2):
        for column in range(3):
            panel = pixels[row * height : (row + 1) * height, column * width : (column + 1) * width]
            assert 0.02 < np.mean(panel.min(axis=2) < 200) < 0.98, (row, column)
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_picture_shows_what_changed(found):
    picture = found.picture
    assert picture.factor == 2
    assert picture.difference.shape == (150, 350)
    assert picture.difference[125, 325] > 75  # 4 DN/s in errors of 0.05, kept though three neighbours changed little
    assert picture.new[51, 101] == pytest.approx(picture.old[51, 101] * 1.01, rel=1e-5)
    assert picture.counts.sum() == found.plane("data").error_compared


def texts_of(figure):
    """All texts that are drawn, with their places on the canvas."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    seen = [figure._suptitle]
    bars = [bar for panel in figure.axes for bar in panel.child_axes]
    for axes in [*figure.axes, *bars]:
        seen += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        legend = axes.get_legend()
        seen += [] if legend is None else legend.get_texts()
        if axes.axison:
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
                seen += [label for place, label in ticks if low <= place <= high]
    seen = [text for text in dict.fromkeys(seen) if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in seen]


@pytest.mark.parametrize("which", ["found", "found_ramp"])
def test_no_text_lies_over_another_or_off_the_page(which, request):
    figure = request.getfixturevalue(which).figure()
    texts = texts_of(figure)
    assert len(texts) > 40
    for index, (name, box) in enumerate(texts):
        assert box.x0 >= 0, name
        assert box.y0 >= 0, name
        assert box.x1 <= figure.bbox.width, name
        assert box.y1 <= figure.bbox.height, name
        for other, other_box in texts[index + 1 :]:
            overlap = box.shrunk(0.96, 0.9).overlaps(other_box.shrunk(0.96, 0.9))
            assert not overlap, f"{name!r} lies over {other!r}"


def test_axes_are_labelled(found, found_ramp):
    labels = [(axis.get_title(), axis.get_xlabel(), axis.get_ylabel()) for axis in found.figure().axes[:5]]
    assert labels[0] == ("Archive: data, mean of 2 x 2", "x (pixel)", "y (pixel)")
    assert labels[2][0].startswith("Rerun minus archive")
    assert "median 0." in labels[3][0]
    assert labels[3][1].startswith("difference / error")
    assert labels[3][2] == "pixels per bin"
    last = found_ramp.figure().axes[5]
    assert (last.get_xlabel(), last.get_ylabel()) == ("resultant", "difference (DN)")


def test_both_images_have_one_stretch_and_the_difference_is_symmetric(found):
    old, new, difference = (axis.images[0] for axis in found.figure().axes[:3])
    assert old.get_clim() == new.get_clim()
    low, high = difference.get_clim()
    assert low == -high


def test_figures_of_extreme_cases(image, ramp):
    same = compare(image(), image())
    nothing = image(dq=np.ones((16, 20), np.uint32))
    empty = compare(nothing, nothing)
    all_nan = image(data=np.full((16, 20), np.nan, np.float32))
    bare = SimpleNamespace(data=np.zeros((4, 5), np.float32))
    raw = SimpleNamespace(data=np.zeros((2, 8, 128), np.uint16))
    flagged = ramp(pixeldq=np.ones((16, 20), np.uint32))
    every = image(dq=np.full((16, 20), 0xFFFFFFFE, np.uint32))
    cases = [same, empty, compare(all_nan, all_nan), compare(all_nan, image()), compare(bare, bare),
             compare(raw, raw), compare(flagged, flagged), compare(every, image()),
             compare(image(), image(), rows=(3, 4))]  # fmt: skip
    for case in cases:
        stream = io.BytesIO()
        case.figure().savefig(stream, format="png", dpi=40)
        assert decode(stream.getvalue()).std() > 5
        read_html(case._repr_html_())


def test_html_page_holds_its_picture(found, tmp_path):
    page = found.save(tmp_path / "report.html").read_text(encoding="utf-8")
    picture = re.search(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"', page).group(1)
    assert decode(base64.b64decode(picture)).shape == (1034, 1595, 3)
    assert ["dq", "NO_FLAT_FIELD", "100", "0"] in read_html(page)
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert 'content="light dark"' in page


def test_text_and_json_files(found, tmp_path):
    assert found.save(str(tmp_path / "report.txt")).read_text(encoding="utf-8") == f"{found}\n"
    assert json.loads(found.save(tmp_path / "report.JSON").read_text(encoding="utf-8")) == found.to_dict()


def test_unknown_suffix(found, tmp_path):
    with pytest.raises(OptionError, match=r"report.pdf.*\.html, \.png, \.json, \.txt"):
        found.save(tmp_path / "report.pdf")


def test_nothing_is_left_when_it_cannot_be_written(found, tmp_path):
    with pytest.raises(OutputError, match="missing"):
        found.save(tmp_path / "missing" / "report.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(OutputError, match=r"folder\.txt"):
        found.save(tmp_path / "folder.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.txt"]


def test_show_prints_where_there_is_no_notebook(found, capsys):
    found.show()
    assert capsys.readouterr().out == f"{found}\n"


def test_show_in_a_notebook(found, capsys, monkeypatch):
    shown = []
    display = ModuleType("IPython.display")
    display.display = shown.append
    display.HTML = lambda text: ("html", text)
    display.Image = lambda **given: ("image", given)
    shell = ModuleType("IPython")
    shell.get_ipython = lambda: SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    found.show()
    assert [kind for kind, _ in shown] == ["html", "image"]
    assert shown[0][1] == found._repr_html_()
    assert decode(shown[1][1]["data"]).shape == (2068, 3190, 3)
    assert capsys.readouterr().out == ""
    shell.get_ipython = lambda: SimpleNamespace()
    found.show()  # IPython in a terminal
    assert capsys.readouterr().out == f"{found}\n"


def test_importing_is_cheap():
    import subprocess

    code = (
        "import sys, roman_nexus.comparison\n"
        "heavy = {'matplotlib', 'asdf', 'astropy', 'gwcs', 'roman_datamodels', 'scipy', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
