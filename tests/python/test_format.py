"""FORMAT.md, read by somebody who knows nothing else: what the bytes of codes and cells mean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nearfield as nf

D, ROWS = 37, 1100
PIECES = {1: [], 2: [1], 3: [2], 4: [2, 1], 5: [2, 1, 1], 6: [2, 1, 2], 7: [2, 1, 2, 1], 8: [2, 1, 4]}
UPPER_LEVELS = {2: [3, 10], 3: [14, 45, 79, 127], 4: [6, 18, 31, 44, 58, 75, 96, 127]}


@pytest.fixture(params=["cosine", "dot", "l2"])
def metric(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def rows() -> np.ndarray:
    rows = np.random.default_rng(8).standard_normal((ROWS, D)).astype(np.float32) + np.float32(0.3)
    rows[5] = 0
    return rows


class File:
    """The sections of a saved index."""

    def __init__(self, index: nf.Index, path: Path) -> None:
        index.save(path)
        content = path.read_bytes()
        number = lambda at, size: int.from_bytes(content[at : at + size], "little")  # noqa: E731
        assert content[:8] == b"\x89NEARF\r\n"
        assert number(8, 4) == 0 and number(32, 8) == len(content)
        self.kind = content[16:32].rstrip(b"\0").decode()
        self.sections: dict[str, bytes] = {}
        for at in range(48, 48 + 48 * number(12, 4), 48):
            name = content[at : at + 16].rstrip(b"\0").decode()
            start, length = number(at + 16, 8), number(at + 24, 8)
            assert start % 4096 == 0
            self.sections[name] = content[start : start + length]
        self.schema = json.loads(self.sections["schema"])
        self.mean = np.frombuffer(self.sections.get("mean", b""), np.float32)

    def lines(self, heads: int) -> tuple[np.ndarray, np.ndarray]:
        """The heads (blocks, lines, 64 bytes) and the columns (blocks, columns, 16 words)."""
        blocks = np.frombuffer(self.sections["codes"], np.uint8).reshape(-(-ROWS // 16), -1, 64)
        return blocks[:, :heads], np.ascontiguousarray(blocks[:, heads:]).view(np.uint32)


def bf16(halves: np.ndarray) -> np.ndarray:
    return (halves.astype(np.uint32) << 16).view(np.float32)


def split(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper bf16 of words."""
    return bf16(words & 0xFFFF), bf16(words >> 16)


def signs(width: int, seed: int) -> np.ndarray:
    """Four rounds of signs: bit 63 of the numbers of SplitMix64."""
    mask = 2**64 - 1
    flips = []
    for i in range(4 * width):
        z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & mask
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        flips.append(-1.0 if (z ^ (z >> 31)) >> 63 else 1.0)
    return np.array(flips).reshape(4, width)


def rotated(x: np.ndarray, seed: int, step: int = 8) -> np.ndarray:
    """Rows (n, d) in coordinates (n, w), w being a multiple of `step`."""
    width = -(-x.shape[1] // step) * step
    y = np.zeros((len(x), width))
    y[:, : x.shape[1]] = x
    power = 1 << (width.bit_length() - 1)
    hadamard = np.ones((1, 1))
    while len(hadamard) < power:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    for number, flips in enumerate(signs(width, seed)):
        y *= flips
        part = slice(0, power) if number % 2 == 0 else slice(width - power, width)
        y[:, part] = y[:, part] @ hadamard / np.sqrt(power)
        if power < width:
            a, b = y[:, : width // 2].copy(), y[:, width // 2 :].copy()
            y = np.concatenate([a + b, a - b], axis=1) / np.sqrt(2)
    return y


def coded(rows: np.ndarray, metric: str) -> np.ndarray:
    """What is coded of rows: under cosine their directions."""
    x = rows.astype(np.float64)
    if metric == "cosine":
        norms = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    return x


def centred(rows: np.ndarray, metric: str, mean: np.ndarray) -> np.ndarray:
    x = coded(rows, metric)
    np.testing.assert_allclose(mean, x[:1024].mean(axis=0), atol=1e-6)
    return x - mean


def test_the_codes_of_a_flat_index(rows, metric, tmp_path):
    index = nf.FlatIndex(D, metric)
    index.add(rows)
    file = File(index, tmp_path / "index.nf")
    assert (file.kind, file.schema["codes"], file.schema["accelerate"]) == ("flat", True, True)
    y = rotated(centred(rows, metric, file.mean), 0)
    width = y.shape[1]
    heads, columns = file.lines(width // 8)
    digits = np.empty((len(heads) * 16, width), np.int64)
    for line in range(width // 8):
        for r in range(16):
            for j in range(4):
                byte = heads[:, line, 4 * r + j]
                digits[r::16, 8 * line + j] = byte & 15
                digits[r::16, 8 * line + 4 + j] = byte >> 4
    levels = 2 * digits[:ROWS] - 15
    assert columns.shape[1] == 2 + (metric == "l2")
    scale = columns[:, 0].view(np.float32).ravel()[:ROWS]
    along, apart = (lengths.ravel()[:ROWS] for lengths in split(columns[:, -1]))
    coded = scale[:, None].astype(np.float64) * levels
    assert (np.linalg.norm(coded, axis=1) <= along).all()
    assert (np.linalg.norm(y - coded, axis=1) <= apart + 1e-5).all()
    assert np.median(apart / np.linalg.norm(y, axis=1)) < 0.13, "a code of four bits is as good as that"
    if metric == "l2":
        minus_squared = columns[:, 1].view(np.float32).ravel()[:ROWS]
        np.testing.assert_allclose(minus_squared, -(y**2).sum(axis=1), rtol=1e-5)
    assert file.sections["rests"] == file.sections["ids"] == b""


@pytest.mark.parametrize("bits", PIECES)
def test_the_codes_of_a_quantized_index(rows, metric, bits, tmp_path):
    index = nf.QuantizedIndex(D, metric, bits=bits, seed=77)
    index.add(rows)
    file = File(index, tmp_path / "index.nf")
    assert file.kind == "quantized"
    assert file.schema["parameters"] == {"bits": bits, "keep": False, "seed": 77}
    assert (file.schema["rerank"], file.schema["table"]["has_rows"]) == (4.0, False)
    assert file.sections["rows"] == file.sections["terms"] == b""
    y = rotated(centred(rows, metric, file.mean), 77)
    width = y.shape[1]
    heads, columns = file.lines(-(-width // 32))
    digits = np.zeros((len(heads) * 16, width), np.int64)
    for coordinate in range(width):
        line, k, i = coordinate // 32, coordinate // 8 % 4, coordinate % 8
        for r in range(16):
            digits[r::16, coordinate] = heads[:, line, 16 * k + r] >> i & 1
    digits = digits[:ROWS]
    planes = width // 8
    rest = np.frombuffer(file.sections["rests"], np.uint8).reshape(ROWS, -1)
    scale_bytes = {1: 0, 2: 2}.get(bits, 4)
    assert rest.shape[1] == (bits - 1) * planes + scale_bytes + 2 * (metric == "cosine")
    first = 0
    for m in PIECES[bits]:
        piece = rest[:, first : first + m * planes].reshape(ROWS, m, planes)
        for coordinate in range(width):
            j, within = divmod(coordinate, 8)
            k, i = divmod(within, 8 // m)
            bits_of_piece = piece[:, k, j] >> (m * i) & ((1 << m) - 1)
            digits[:, coordinate] = digits[:, coordinate] << m | bits_of_piece
        first += m * planes
    levels = 2 * digits - (2**bits - 1)
    if bits in UPPER_LEVELS:
        upper = np.array(UPPER_LEVELS[bits])
        levels = np.concatenate([-upper[::-1], upper])[digits]
    signs_scale, _ = (pair.ravel()[:ROWS].astype(np.float64) for pair in split(columns[:, 0]))
    if bits > 2:
        scale = np.ascontiguousarray(rest[:, first : first + 4]).view(np.float32)
    elif bits == 2:
        share = np.ascontiguousarray(rest[:, first : first + 2]).view(np.uint16).astype(np.float64)
        scale = signs_scale[:, None] * (65_535 + 9 * share) / 655_350
    else:
        scale = signs_scale[:, None]
    # What the digits say of a row, turned back, is what `get` returns: the rotation keeps inner products.
    described = scale * levels
    decoded = index.get(index.ids)
    length = np.ones(ROWS)
    if metric == "cosine":
        length = bf16(np.ascontiguousarray(rest[:, first + scale_bytes :]).view(np.uint16).ravel()).astype(
            np.float64
        )
        np.testing.assert_allclose(length, np.linalg.norm(rows, axis=1), rtol=2**-8)
        assert (length == 0).tolist() == [row == 5 for row in range(ROWS)]
        assert not decoded[5].any()
    known = length > 0
    again = rotated(decoded[known] / length[known, None] - file.mean, 77)
    # With d below w the last coordinates of what the code describes are lost on the way back.
    back = np.linalg.norm(again - described[known], axis=1)
    assert (back <= 1.2 * np.linalg.norm(y[known] - described[known], axis=1) + 1e-5).all()
    estimate = (described * y).sum(axis=1) / (y**2).sum(axis=1)
    np.testing.assert_allclose(estimate[known], 1, atol=1e-4 if bits > 1 else 2**-8)
    of_signs = (signs_scale[:, None] * np.where(digits >> (bits - 1), 1, -1) * y).sum(axis=1)
    np.testing.assert_allclose(of_signs[known], (y**2).sum(axis=1)[known], rtol=2**-7)


class CellFile(File):
    """The sections of a saved graph of cells."""

    def __init__(self, index: nf.HnswIndex, path: Path) -> None:
        super().__init__(index, path)
        self.m, self.nodes = self.schema["parameters"]["m"], self.schema["graph"]["nodes"]
        self.width = -(-index.dim // 64) * 64
        frame = self.sections["frame"]
        self.unit = float(np.frombuffer(frame[:8], np.float64)[0])
        self.mean = np.frombuffer(frame[8:], np.float32)
        self.fans = -(-2 * self.m // 16)
        self.signs = min(self.width, -(-100480 * self.width // (57 * self.width + 64000) // 64) * 64)
        cells = np.frombuffer(self.sections["cells"], np.uint8)
        self.cells = cells.reshape(self.nodes[0], self.width + 64 + self.fans * (2 * self.signs + 128))

    def words(self, at: int, length: int, kind: type) -> np.ndarray:
        """Numbers of four bytes of every cell, the first at byte `at`."""
        return np.ascontiguousarray(self.cells[:, at : at + 4 * length]).view(kind)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the cells and their parts."""
        numbers = self.words(self.width, 2, np.float32).astype(np.float64)
        return self.cells[:, : self.width].view(np.int8) * numbers[:, :1], numbers[:, 1]

    def links(self, at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Link `at` of every cell: whether it is there, where it leads, its signs, A and B."""
        fan, r = self.width + 64 + at // 16 * (2 * self.signs + 128), at % 16
        bits = np.empty((self.nodes[0], self.signs), np.uint8)
        for coordinate in range(self.signs):
            line, k, i = coordinate // 32, coordinate // 8 % 4, coordinate % 8
            bits[:, coordinate] = self.cells[:, fan + 64 * line + 16 * k + r] >> i & 1
        factors = self.words(fan + 2 * self.signs + 4 * r, 1, np.uint32).ravel()
        times, added = split(factors)
        to = self.words(fan + 2 * self.signs + 64 + 4 * r, 1, np.uint32).ravel()
        there = self.words(self.width + 8, 1, np.uint32).ravel() > at
        return there, to, bits.astype(np.float64) * 2 - 1, added.astype(np.float64), times.astype(np.float64)


#: A seed under which one of these few rows has a node in a layer above.
LAYERED = 78


@pytest.mark.parametrize("keep", ["f32", "f16"])
def test_the_cells_of_a_graph(rows, metric, keep, tmp_path):
    rows = rows.copy()
    rows[[50, 900, 1090]] = rows[7]
    index = nf.HnswIndex(D, metric, keep=keep, m=12, seed=LAYERED)
    index.add(rows)
    file = CellFile(index, tmp_path / "index.nf")
    assert (file.kind, file.schema["table"]["codec"], file.schema["graph"]["cells"]) == ("hnsw", keep, True)
    assert file.schema["parameters"] == {"m": 12, "ef_construction": 200, "seed": LAYERED, "codec": "auto"}
    assert "links.0" not in file.sections
    x = coded(index.get(index.ids), metric)
    some = x[np.arange(1024) * len(x) // 1024]
    spread = np.sqrt(((some - some.mean(axis=0)) ** 2).sum(axis=1).mean())
    np.testing.assert_allclose(file.unit * spread, 1, rtol=1e-6)
    np.testing.assert_allclose(file.mean, some.mean(axis=0) * file.unit, atol=1e-6)
    y = rotated(x * file.unit - file.mean, LAYERED, 64)
    cells, parts = file.rows()
    steps = np.abs(y).max(axis=1, keepdims=True) / 127
    np.testing.assert_array_less(np.abs(cells - y), np.broadcast_to(0.501 * steps + 1e-5, y.shape))
    centre = rotated(file.mean[None].astype(np.float64), LAYERED, 64)[0]
    expected = -2 * (cells @ centre) if metric == "dot" else (cells**2).sum(axis=1)
    np.testing.assert_allclose(parts, expected, rtol=1e-5, atol=1e-5)
    check_links(file, cells, parts)
    check_twins(file)
    check_layers(file)


def test_links_of_wide_rows_have_fewer_signs(metric, tmp_path):
    rows = np.random.default_rng(9).standard_normal((1030, 800)).astype(np.float32)
    index = nf.HnswIndex(800, metric, m=12)
    index.add(rows)
    file = CellFile(index, tmp_path / "index.nf")
    assert (file.width, file.signs) == (832, 768)
    check_links(file, *file.rows())


def check_links(file: CellFile, y: np.ndarray, parts: np.ndarray) -> None:
    """Every link of every cell against what FORMAT.md says of it."""
    assert not file.cells[:, file.width + 12 : file.width + 64].any()
    found = 0
    for at in range(2 * file.m):
        there, *columns = file.links(at)
        to, signs, added, times = (column[there] for column in columns)
        assert (to < file.nodes[0]).all()
        own, o = y[there], y[to] - y[there]
        # f32 may round o to another sign where it is nothing.
        assert (signs * o[:, : file.signs] >= -1e-6).all()
        sizes, squares = (signs * o[:, : file.signs]).sum(axis=1), (o**2).sum(axis=1)
        f = np.divide(squares, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        np.testing.assert_allclose(times, -2 * f, rtol=2**-8 + 1e-4)
        inner, along = (own * o).sum(axis=1), (own[:, : file.signs] * signs).sum(axis=1)
        expected = parts[to] - parts[there] - 2 * inner + 2 * f * along
        np.testing.assert_allclose(added, expected, rtol=2**-8, atol=1e-4)
        found += len(to)
    assert found > 8 * file.nodes[0]


def check_twins(file: CellFile) -> None:
    """Rows 50, 900 and 1090 are the same as row 7."""
    twins = np.frombuffer(file.sections["twins"], np.uint32)
    assert [twins[7], twins[1090], twins[900], twins[50]] == [1090, 900, 50, 0xFFFFFFFF]
    lengths = file.words(file.width + 8, 1, np.uint32).ravel()
    assert not lengths[[50, 900, 1090]].any()


def check_layers(file: CellFile) -> None:
    """The layers above: rows are the beginnings of cells, links and places lead somewhere."""
    assert len(file.nodes) > 1 and file.schema["graph"]["entry"] < file.nodes[-1]
    for level, nodes in enumerate(file.nodes[1:], 1):
        places = np.frombuffer(file.sections[f"places.{level}"], np.uint32).reshape(nodes, 2)
        rows = np.frombuffer(file.sections[f"rows.{level}"], np.uint8).reshape(nodes, file.width + 8)
        np.testing.assert_array_equal(rows, file.cells[places[:, 0], : file.width + 8])
        assert (places[:, 1] < file.nodes[level - 1]).all()
        links = np.frombuffer(file.sections[f"links.{level}"], np.uint32).reshape(nodes, file.m)
        ended = np.maximum.accumulate(links == 0xFFFFFFFF, axis=1)
        np.testing.assert_array_equal(ended, links == 0xFFFFFFFF)
        assert (links[~ended] < nodes).all()


def test_what_walks_have_missed_is_where_they_begin(tmp_path):
    # All are about as far from each other, so nothing tells a walk where to go.
    rows = np.random.default_rng(3).standard_normal((4000, 512)).astype(np.float32)
    index = nf.HnswIndex(512, "cosine")
    index.add(rows[:2000])
    for start in range(2000, len(rows), 100):
        index.add(rows[start : start + 100])
    missed = File(index, tmp_path / "index.nf").schema["graph"]["pivots"]["missed"]
    assert missed and len(missed) <= 256 and max(missed) < len(rows)
    for searched in (index, nf.load(tmp_path / "index.nf", mmap=True)):
        np.testing.assert_array_equal(searched.search(rows[missed], 1, ef=1).ids[:, 0], missed)
        assert (searched.search(rows, 1, ef=1).ids[:, 0] != np.arange(len(rows))).any()


def test_lean_cells(rows, metric, tmp_path):
    index = nf.HnswIndex(D, metric, keep=None, m=12, seed=77)
    index.add(rows)
    file = File(index, tmp_path / "index.nf")
    assert file.schema["parameters"]["codec"] == "lean"
    assert not file.schema["table"]["has_rows"] and file.schema["graph"]["nodes"][0] == ROWS
    assert not {"cells", "links.0", "rows.1"} & set(file.sections)
    width, places = 128, 2 * 12 - 2
    heads = np.frombuffer(file.sections["heads"], np.uint8).reshape(ROWS, width // 2 + 8)
    rests = np.frombuffer(file.sections["rests"], np.uint8).reshape(ROWS, width // 2 + 4 * places)
    high, low = heads[:, : width // 2].astype(int), rests[:, : width // 2].astype(int)
    whole = np.concatenate([(high & 15) << 4 | low & 15, high & 0xF0 | low >> 4], axis=1) - 128
    assert np.abs(whole).max() <= 127
    word = np.ascontiguousarray(heads[:, width // 2 : width // 2 + 4]).view(np.uint32).ravel()
    scales = (word & 0xFFFF0000).view(np.float32).astype(np.float64)
    lengths = (word << 16).view(np.float32)
    np.testing.assert_allclose(lengths, np.linalg.norm(rows, axis=1), rtol=2**-8)
    unit, mean = np.frombuffer(file.sections["frame"][:8], np.float64)[0], file.sections["frame"][8:]
    mean = np.frombuffer(mean, np.float32).astype(np.float64)
    y = rotated(coded(rows, metric) * unit - mean, 77, width)
    cells = whole * scales[:, None]
    np.testing.assert_array_less(np.abs(cells - y), np.broadcast_to(0.501 * scales[:, None] + 1e-5, y.shape))
    parts = np.ascontiguousarray(heads[:, width // 2 + 4 :]).view(np.float32).ravel()
    centre = rotated(mean[None], 77, width)[0]
    expected = -2 * (cells @ centre) if metric == "dot" else (cells**2).sum(axis=1)
    np.testing.assert_allclose(parts, expected, rtol=1e-5, atol=1e-5)
    links = np.ascontiguousarray(rests[:, width // 2 :]).view(np.uint32)
    ended = np.maximum.accumulate(links == 0xFFFFFFFF, axis=1)
    np.testing.assert_array_equal(ended, links == 0xFFFFFFFF)
    assert (links[~ended] < ROWS).all() and (~ended).sum() > 8 * ROWS
