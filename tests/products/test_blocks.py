"""Arrays read by pieces equal the asdf library's, cost what they should, and damage is named."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asdf
import numpy as np
import pytest

from roman_nexus.errors import FileFormatError, ShapeError
from roman_nexus.products import cuts, payload
from roman_nexus.products.blocks import ArrayDescription, BlockArray, open_blocks, peek

CUBE = np.random.default_rng(20261122).integers(0, 60000, (4, 40, 96)).astype(np.uint16)
SMALL_PIECE = 4096


def write(path: Path, roman: dict, compression: str | None = None) -> Path:
    asdf.AsdfFile({"roman": roman}).write_to(path, all_array_compression=compression)
    return path


def write_small_pieces(path: Path, roman: dict) -> Path:
    """Write lz4 pieces of 4 KiB, so that a small file has many."""
    with asdf.config_context() as config:
        config.all_array_compression = "lz4"
        config.all_array_compression_kwargs = {"compression_block_size": SMALL_PIECE}
        asdf.AsdfFile({"roman": roman}).write_to(path)
    return path


@pytest.fixture(scope="module", params=["raw", "lz4", "lz4 small", "zlib", "bzp2"])
def cube_bytes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    roman = {"meta": {"filename": "x"}, "data": CUBE, "dq": np.arange(24, dtype=np.uint32).reshape(4, 6)}
    path = tmp_path_factory.mktemp("cube") / "cube.asdf"
    if request.param == "lz4 small":
        return write_small_pieces(path, roman).read_bytes()
    return write(path, roman, None if request.param == "raw" else request.param).read_bytes()


@pytest.fixture
def cube_file(cube_bytes: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "cube.asdf"
    path.write_bytes(cube_bytes)
    return path


KEYS = [
    ...,
    (slice(None), slice(10, 20)),
    (slice(None), slice(None), slice(5, 9)),
    (..., slice(33, 64)),
    (2, 7, 11),
    (slice(1, 3), 39),
    -1,
    (slice(None), slice(5, 5)),
    (slice(-30, 99), slice(-3, None), slice(0, 96)),
    (np.int64(3), ..., slice(90, 96)),
    slice(3, 1),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_cuts_equal_those_of_the_array(cube_file: Path, key: object) -> None:
    with open_blocks(cube_file) as blocks:
        array = blocks.array("roman.data")
        assert isinstance(array, BlockArray)
        assert (array.shape, array.dtype, array.ndim, array.nbytes) == (CUBE.shape, CUBE.dtype, 3, CUBE.nbytes)
        cut = array[key]
        np.testing.assert_array_equal(cut, CUBE[key])
        assert cut.shape == CUBE[key].shape
        out = np.full(cut.shape, 7, np.uint16)
        array.read_into(out, key)
        np.testing.assert_array_equal(out, CUBE[key])


def test_whole_array_and_iteration(cube_file: Path) -> None:
    with open_blocks(cube_file) as blocks:
        array = blocks.array("roman.data")
        np.testing.assert_array_equal(np.asarray(array), CUBE)
        assert np.asarray(array, dtype=np.float32).dtype == np.float32
        np.testing.assert_array_equal(np.stack(list(array)), CUBE)
        assert len(array) == 4
        with pytest.raises(ShapeError, match="without copying"):
            np.asarray(array, copy=False)


@pytest.mark.parametrize(
    "key", [(0, 0, 0, 0), slice(0, 4, 2), slice(None, None, -1), [0, 1], None, 4, -5, (..., ...), 1.5, True]
)
def test_other_indices_are_refused_in_words(cube_file: Path, key: object) -> None:
    with open_blocks(cube_file) as blocks, pytest.raises(ShapeError, match=r"roman\.data"):
        blocks.array("roman.data")[key]


DTYPES = [">u2", "<f2", ">f4", "<f8", ">c16", "?", "i1", ">i8", "S5", ">U3"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compression", [None, "lz4"])
def test_data_types_come_in_native_byte_order(tmp_path: Path, dtype: str, compression: str | None) -> None:
    values = np.arange(-60, 60).astype(dtype).reshape(10, 12)
    file = write(tmp_path / "x.asdf", {"data": values}, compression)
    with open_blocks(file) as blocks:
        array = blocks.array("roman.data")
        cut = array[2:5, 1:7]
        assert cut.dtype.isnative
        np.testing.assert_array_equal(cut, values[2:5, 1:7])
        assert cut.flags.owndata or cut.base is not None
        assert cut.flags.writeable
        out = np.zeros((20, 12), array.dtype)[::2]
        array.read_into(out)
        np.testing.assert_array_equal(out, values)


def test_tables_come_whole(tmp_path: Path) -> None:
    dtype = [("name", "<U4"), ("ra", ">f8"), ("corner", "<f4", (2,))]
    table = np.array([(f"c{i}", i / 3, (i, -i)) for i in range(50)], dtype=dtype)
    with open_blocks(write(tmp_path / "x.asdf", {"table": table})) as blocks:
        read = blocks.array("roman.table")[10:20]
    assert read.dtype.isnative
    for name in ("name", "ra", "corner"):
        np.testing.assert_array_equal(read[name], table[name][10:20])


@pytest.mark.parametrize("compression", [None, "lz4"])
@pytest.mark.parametrize(
    "cut",
    [
        np.s_[:, 4:-4, 4:-4],
        np.s_[:, :, :4],
        np.s_[::-1, ::2, 1::3],
        np.s_[1],
    ],
    ids=["border", "columns", "reversed", "plane"],
)
def test_strided_views_of_a_larger_block(tmp_path: Path, compression: str | None, cut: tuple) -> None:
    view = CUBE[cut]
    with asdf.config_context() as config:
        config.default_array_save_base = True
        file = write(tmp_path / "x.asdf", {"all": CUBE, "view": view}, compression)
    with open_blocks(file) as blocks:
        array = blocks.array("roman.view")
        np.testing.assert_array_equal(array[...], view)
        np.testing.assert_array_equal(array[..., 2:4], view[..., 2:4])
        np.testing.assert_array_equal(array[1:], view[1:])


def test_large_gaps_and_spans_take_the_other_roads(cube_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bridge, scratch in [(0, 1000), (16, 10), (100_000, 500), (100_000, 100_000)]:
        monkeypatch.setattr(cuts, "BRIDGE", bridge)
        monkeypatch.setattr(cuts, "SCRATCH", scratch)
        with open_blocks(cube_file) as blocks:
            for key in KEYS:
                np.testing.assert_array_equal(blocks.array("roman.data")[key], CUBE[key])


def test_fortran_order(tmp_path: Path) -> None:
    values = np.asfortranarray(CUBE)
    with open_blocks(write(tmp_path / "x.asdf", {"data": values})) as blocks:
        np.testing.assert_array_equal(blocks.array("roman.data")[1:3, 5:9], values[1:3, 5:9])


# ------------------------------------------------------------------------------------------------ what it costs
class CountingSource:
    """A byte source that counts."""

    def __init__(self, file: Path) -> None:
        self.name = str(file)
        self._bytes = np.frombuffer(file.read_bytes(), np.uint8)
        self.size = self._bytes.size
        self.reads: list[int] = []

    def read_into(self, start: int, out: np.ndarray) -> int:
        piece = self._bytes[start : start + out.size]
        out[: piece.size] = piece
        self.reads.append(piece.size)
        return piece.size

    def close(self) -> None:
        self.size = 0


def test_a_row_band_of_a_raw_cube_costs_one_read_per_plane(tmp_path: Path) -> None:
    source = CountingSource(write(tmp_path / "x.asdf", {"data": CUBE}, None))
    with open_blocks(source) as blocks:
        source.reads.clear()
        blocks.array("roman.data")[:, 10:20]
    # 4 planes: the gaps between them are smaller than the bridge, so one read takes them all
    assert len(source.reads) == 1
    big = np.zeros((3, 200, 100), np.float32)
    source = CountingSource(write(tmp_path / "y.asdf", {"data": big}, None))
    with open_blocks(source) as blocks:
        source.reads.clear()
        blocks.array("roman.data")[:, 10:20]
    assert source.reads == [10 * 100 * 4] * 3


def test_each_lz4_piece_is_decoded_once_when_rows_are_read_forward(tmp_path: Path) -> None:
    cube = np.random.default_rng(1).integers(0, 9999, (5, 64, 256)).astype(np.uint16)
    file = write_small_pieces(tmp_path / "x.asdf", {"data": cube})
    pieces = cube.nbytes // SMALL_PIECE
    with open_blocks(file, piece_cache_bytes=8 * SMALL_PIECE) as blocks:
        array = blocks.array("roman.data")
        read = [array[:, row : row + 5] for row in range(0, 64, 5)]
        np.testing.assert_array_equal(np.concatenate(read, axis=1), cube)
        assert blocks._cache.decoded == pieces
        assert blocks._cache._held <= 8 * SMALL_PIECE


def test_a_cut_decodes_only_the_pieces_that_it_touches(tmp_path: Path) -> None:
    values = np.arange(64 * 1024, dtype=np.uint16).reshape(64, 1024)  # two rows a piece
    with open_blocks(write_small_pieces(tmp_path / "x.asdf", {"data": values})) as blocks:
        blocks.array("roman.data")[10:13, 5:9]
        assert blocks._cache.decoded == 2


def test_forgetting_gives_the_memory_back_and_reading_goes_on(tmp_path: Path) -> None:
    values = np.arange(64 * 1024, dtype=np.uint16).reshape(64, 1024)
    with open_blocks(write_small_pieces(tmp_path / "x.asdf", {"data": values})) as blocks:
        array = blocks.array("roman.data")
        array[10, :5]
        assert blocks._cache._held == SMALL_PIECE
        blocks.forget()
        assert blocks._cache._held == 0
        np.testing.assert_array_equal(array[10, :5], values[10, :5])
        assert blocks._cache.decoded == 2


def test_default_memory_grows_with_the_number_of_planes(tmp_path: Path) -> None:
    piece = 4 * 1024 * 1024
    for planes, pieces in [(1, 3), (5, 7), (30, 16)]:
        body = (
            f"roman:\n  data: !core/ndarray-1.1.0 {{source: 0, shape: [{planes}, 2048, 2048], datatype: uint16, "
            "byteorder: little}\n"
        )
        size = (planes * 2 * piece).to_bytes(8, "big")
        header = b"\xd3BLK" + (48).to_bytes(2, "big") + bytes(4) + b"lz4\0" + (9999).to_bytes(8, "big") * 2 + size
        with open_blocks(by_hand(tmp_path / "x.asdf", body, header + bytes(16 + 9999))) as blocks:
            assert blocks._cache.capacity == pieces * piece


def test_threads_share_pieces_and_get_the_right_bytes(tmp_path: Path) -> None:
    cube = np.random.default_rng(2).integers(0, 9999, (3, 128, 256)).astype(np.uint16)
    with open_blocks(write_small_pieces(tmp_path / "x.asdf", {"data": cube})) as blocks:
        array = blocks.array("roman.data")
        barrier = threading.Barrier(8)

        def work(number: int) -> bool:
            barrier.wait()
            rows = [(16 * number + step) % 128 for step in range(40)]
            return all(np.array_equal(array[:, row], cube[:, row]) for row in rows)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(8)))
        assert blocks._cache.decoded == 3 * 128 * 512 // SMALL_PIECE


def test_a_piece_that_is_being_decoded_is_waited_for() -> None:
    cache = payload.PieceCache(1000)
    started, go = threading.Event(), threading.Event()
    calls = []

    def slow() -> bytes:
        calls.append(1)
        started.set()
        assert go.wait(10)
        return b"piece"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.get, (0, 0), slow, keep=True, spent=False)
        assert started.wait(10)
        second = pool.submit(cache.get, (0, 0), slow, keep=True, spent=False)
        go.set()
        assert (first.result(10), second.result(10)) == (b"piece", b"piece")
    assert len(calls) == 1


def test_a_failed_piece_fails_for_all_who_wait_and_is_tried_again_later() -> None:
    cache = payload.PieceCache(1000)

    def fail() -> bytes:
        message = "damaged"
        raise FileFormatError(message)

    with pytest.raises(FileFormatError):
        cache.get((0, 0), fail, keep=True, spent=False)
    assert cache.get((0, 0), lambda: b"fine", keep=True, spent=False) == b"fine"


# ------------------------------------------------------------------------------------------------------ the tree
def test_tree_is_plain_and_keeps_aliases(tmp_path: Path) -> None:
    shared = {"x": [1, 2.5, None, True]}
    file = write(tmp_path / "x.asdf", {"a": shared, "b": shared, "text": "0001"})
    assert "&id" in file.read_bytes().decode("latin-1")
    with open_blocks(file) as blocks:
        roman = blocks.tree["roman"]
        assert roman["a"] == {"x": [1, 2.5, None, True]}
        assert roman["a"] is roman["b"]
        assert roman["text"] == "0001"
        assert blocks.roman_tag is None


def test_an_array_in_two_places_is_read_from_both(tmp_path: Path) -> None:
    with open_blocks(write(tmp_path / "x.asdf", {"a": CUBE, "deep": {"b": CUBE}})) as blocks:
        assert set(blocks.arrays()) == {"roman.a", "roman.deep.b"}
        np.testing.assert_array_equal(blocks.array("roman.deep.b")[0], CUBE[0])


HEAD = b"#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"


def by_hand(path: Path, body: str, blocks: bytes = b"") -> Path:
    path.write_bytes(HEAD + body.encode() + b"...\n" + blocks)
    return path


def test_inline_arrays_of_all_sorts(tmp_path: Path) -> None:
    body = """roman: !<asdf://stsci.edu/datamodels/roman/tags/ramp-9.9.9>
  plain: !core/ndarray-1.1.0 [1, 2, 3]
  square: !core/ndarray-1.1.0 {data: [[1, 2], [3, 4]], datatype: float32, shape: [2, 2]}
  empty: !core/ndarray-1.1.0 {data: [], datatype: int16, shape: [0, 3]}
  holes: !core/ndarray-1.1.0 {data: [1, null, 3], datatype: int16}
  rows: !core/ndarray-1.1.0
    data: [[a, 1], [b, 2]]
    datatype: [{name: s, datatype: [ascii, 2]}, {name: n, datatype: int32, byteorder: big}]
  waves: !core/ndarray-1.1.0 {data: [!core/complex-1.0.0 1+2j, !core/complex-1.0.0 3], datatype: complex64}
  nan: !core/ndarray-1.1.0 {data: [.nan, .inf], datatype: float64}
  strange: !<tag:nobody.org:thing-1.0> {value: !<tag:nobody.org:word-1.0> hello}
  cycle: &loop {self: *loop}
"""
    with open_blocks(by_hand(tmp_path / "x.asdf", body)) as blocks:
        assert blocks.roman_tag == "asdf://stsci.edu/datamodels/roman/tags/ramp-9.9.9"
        get = blocks.array
        assert get("roman.square").dtype == np.float32
        assert get("roman.empty").shape == (0, 3)
        assert get("roman.holes").mask.tolist() == [False, True, False]
        assert get("roman.rows")["n"].tolist() == [1, 2]
        assert get("roman.waves").tolist() == [1 + 2j, 3]
        assert np.isnan(get("roman.nan")[0])
        assert get("roman.plain").sum() == 6
        assert blocks.tree["roman"]["strange"] == {"value": "hello"}
        loop = blocks.tree["roman"]["cycle"]
        assert loop["self"] is loop


def test_streamed_block(tmp_path: Path) -> None:
    file = tmp_path / "x.asdf"
    tree = asdf.AsdfFile({"roman": {"data": asdf.tags.core.Stream([5], np.int32)}})
    with file.open("wb") as out:
        tree.write_to(out)
        out.write(np.arange(20, dtype=np.dtype("<i4" if sys.byteorder == "little" else ">i4")).tobytes())
    with open_blocks(file) as blocks:
        np.testing.assert_array_equal(blocks.array("roman.data")[1:], np.arange(20).reshape(4, 5)[1:])


def test_external_and_masked_arrays_are_refused_when_read(tmp_path: Path) -> None:
    body = """roman:
  far: !core/ndarray-1.1.0 {source: other.asdf, shape: [2], datatype: int16, byteorder: little}
  near: 1
"""
    with open_blocks(by_hand(tmp_path / "x.asdf", body)) as blocks:
        assert blocks.tree["roman"]["near"] == 1
        with pytest.raises(FileFormatError, match=r"roman\.far.*another file"):
            blocks.array("roman.far")[...]


def test_asking_for_what_is_not_there(cube_file: Path) -> None:
    with open_blocks(cube_file) as blocks, pytest.raises(FileFormatError, match=r"roman\.data, roman\.dq"):
        blocks.array("roman.err")


def test_reading_after_close_is_refused(cube_file: Path) -> None:
    with open_blocks(cube_file) as blocks:
        array = blocks.array("roman.data")
    with pytest.raises(FileFormatError, match="has been closed"):
        array[0, 0]


def test_an_array_keeps_its_file_open(cube_file: Path) -> None:
    array = open_blocks(cube_file).array("roman.data")
    np.testing.assert_array_equal(array[0], CUBE[0])


def test_peek(tmp_path: Path) -> None:
    file = write(tmp_path / "x.asdf", {"meta": {"exposure": {"type": "WFI_IMAGE"}}, "data": CUBE})
    roman = peek(file)
    assert roman["meta"]["exposure"]["type"] == "WFI_IMAGE"
    assert roman["data"] == ArrayDescription((4, 40, 96), "uint16")


def test_neither_asdf_nor_astropy_is_imported(cube_file: Path) -> None:
    code = (
        "import sys; from roman_nexus.products.blocks import open_blocks; "
        f"print(open_blocks({str(cube_file)!r}).array('roman.data')[0, 0, 0]); "
        "print([name for name in ('asdf', 'astropy', 'scipy', 'roman_datamodels') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [str(CUBE[0, 0, 0]), "[]"]


# --------------------------------------------------------------------------------------------------- damaged files
def test_what_is_no_asdf_file(tmp_path: Path) -> None:
    file = tmp_path / "x.asdf"
    for content, words in [
        (b"", "it is empty"),
        (b"SIMPLE  =                    T", "is not an ASDF file"),
        (b"#ASDF 1.0.0\n\xd3BLK\x00\x30", "without a tree"),
        (HEAD + b"roman: {meta: 1}\n", "truncated"),
        (HEAD + b"roman: {meta: [1\n...\n", "cannot be read"),
        (HEAD + b"roman: \xff\xfe\n...\n", "cannot be read"),
        (HEAD.replace(b"--- !core/asdf-1.1.0\n", b"--- 5\n") + b"...\n", "no tree of named values"),
    ]:
        file.write_bytes(content)
        for reader in (open_blocks, peek):
            with pytest.raises(FileFormatError, match=words):
                reader(file)
    with pytest.raises(FileFormatError, match="No such file"):
        open_blocks(tmp_path / "missing.asdf")
    with pytest.raises(FileFormatError, match="folder"):
        open_blocks(tmp_path)
    by_hand(file, "other: 1\n")
    with pytest.raises(FileFormatError, match="no 'roman' tree; its top keys are other"):
        peek(file)


def test_truncated_anywhere_is_refused_with_name_and_place(cube_file: Path) -> None:
    content = cube_file.read_bytes()
    first, index = content.index(b"\xd3BLK"), content.rindex(b"#ASDF BLOCK INDEX")
    for end in {
        0,
        5,
        300,
        first - 2,
        first,
        first + 3,
        first + 20,
        first + 54,
        first + 500,
        index - 1,
        (first + index) // 2,
    }:
        cube_file.write_bytes(content[:end])
        with pytest.raises(FileFormatError, match=r"cube\.asdf"):
            open_blocks(cube_file)
    for end in (index, index + 10, len(content)):
        cube_file.write_bytes(content[:end])
        with open_blocks(cube_file) as blocks:
            np.testing.assert_array_equal(blocks.array("roman.data")[0], CUBE[0])


def test_the_message_says_which_array_is_cut_off(cube_file: Path) -> None:
    content = cube_file.read_bytes()
    cube_file.write_bytes(content[: content.rindex(b"\xd3BLK") + 60])
    with pytest.raises(FileFormatError, match=r"roman\.dq .*truncated"):
        open_blocks(cube_file)


def test_a_file_that_shrinks_while_it_is_open(tmp_path: Path) -> None:
    file = write(tmp_path / "x.asdf", {"data": CUBE}, None)
    with open_blocks(file) as blocks:
        with file.open("r+b") as out:
            out.truncate(2000)
        with pytest.raises(FileFormatError, match="became shorter"):
            blocks.array("roman.data")[...]


def damaged_lz4(tmp_path: Path, place: int, value: bytes) -> Path:
    file = write_small_pieces(tmp_path / "x.asdf", {"data": CUBE})
    content = bytearray(file.read_bytes())
    start = content.index(b"\xd3BLK") + 54 + place
    content[start : start + len(value)] = value
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, b"\x7f\xff\xff\xff", "piece 0 of its lz4 data"),
        (0, b"\0\0\0\1", "piece 0"),
        (4, b"\xff\xff\xff\x7f", "piece 0"),
        (4, b"\0\0\0\0", "piece 0"),
        (4, (SMALL_PIECE - 1).to_bytes(4, "little"), "decode to"),
        (8, b"\0" * 200, r"piece 0 of its lz4 data.*(cannot be decoded|gives)"),
    ],
)
def test_damaged_lz4_pieces(tmp_path: Path, place: int, value: bytes, words: str) -> None:
    with (
        open_blocks(damaged_lz4(tmp_path, place, value)) as blocks,
        pytest.raises(FileFormatError, match=rf"x\.asdf: roman\.data .*{words}"),
    ):
        blocks.array("roman.data")[...]


@pytest.mark.parametrize("compression", ["zlib", "bzp2"])
def test_damaged_streams(tmp_path: Path, compression: str) -> None:
    file = write(tmp_path / "x.asdf", {"data": CUBE}, compression)
    content = bytearray(file.read_bytes())
    start = content.index(b"\xd3BLK") + 54
    content[start + 100 : start + 200] = bytes(100)
    file.write_bytes(content)
    with open_blocks(file) as blocks, pytest.raises(FileFormatError, match=rf"roman\.data .*{compression}"):
        blocks.array("roman.data")[...]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (4, b"\0\x10", "48 or more"),
        (10, b"zstd", "sizes|zstd"),
        (30, b"\0\0\0\0\0\0\0\1", "contradict"),
        (14, b"\0\0\0\0\0\0\0\1", "contradict"),
        (0, b"\xd3BLQ", "missing"),
    ],
)
def test_damaged_block_headers(tmp_path: Path, place: int, value: bytes, words: str) -> None:
    file = write(tmp_path / "x.asdf", {"data": CUBE}, None)
    content = bytearray(file.read_bytes())
    start = content.index(b"\xd3BLK") + place
    content[start : start + len(value)] = value
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match=words), open_blocks(file) as blocks:
        blocks.array("roman.data")[...]


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("{source: 3, shape: [2], datatype: int16, byteorder: little}", "block 3 is missing"),
        ("{source: 0, shape: [900], datatype: int16, byteorder: little}", "which has"),
        ("{source: 0, offset: 7990, shape: [90], datatype: int16, byteorder: little}", "which has"),
        ("{source: 0, strides: [-2], shape: [9], datatype: int16, byteorder: little}", "which has"),
        ("{source: 0, shape: [-2], datatype: int16, byteorder: little}", "shape"),
        ("{source: 0, shape: [2], strides: [1, 2], datatype: int16, byteorder: little}", "strides"),
        ("{source: 0, shape: [2], datatype: int17, byteorder: little}", "int17"),
        ("{source: 0, shape: [2], datatype: int16, byteorder: middle}", "middle"),
        ("{source: 0, datatype: int16, byteorder: little}", "shape"),
        ("{data: [1, x], datatype: int16}", "cannot be read"),
    ],
)
def test_nodes_that_do_not_fit_their_block(tmp_path: Path, node: str, words: str) -> None:
    payload_bytes = bytes(100)
    header = (48).to_bytes(2, "big") + bytes(4) + bytes(4) + (100).to_bytes(8, "big") * 3 + bytes(16)
    file = by_hand(
        tmp_path / "x.asdf", f"roman:\n  data: !core/ndarray-1.1.0 {node}\n", b"\xd3BLK" + header + payload_bytes
    )
    with pytest.raises(FileFormatError, match=words):
        open_blocks(file)


def test_any_flipped_byte_is_read_or_refused_in_words(tmp_path: Path) -> None:
    file = write(tmp_path / "x.asdf", {"data": CUBE[:1, :8], "dq": CUBE[0, :4]}, "lz4")
    content = file.read_bytes()
    rng = np.random.default_rng(5)
    for place in rng.integers(0, len(content), 300):
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        file.write_bytes(damaged)
        try:
            with open_blocks(file) as blocks:
                for array in blocks.arrays().values():
                    np.asarray(array)
        except FileFormatError as error:
            assert "x.asdf" in str(error)  # noqa: PT017 - most flips do no harm
