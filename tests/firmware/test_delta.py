"""Deltas: any file out of any other, refused where they do not fit, resumed where they were cut."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phibuild_firmware.delta import records
from phibuild_firmware.delta.apply import PART, apply_delta
from phibuild_firmware.delta.differences import add, subtract
from phibuild_firmware.delta.make import make_delta
from phibuild_firmware.delta.regions import Region, regions, windows

from phibuild.model.errors import PackagingError

RANDOM = random.Random(3)
OLD = RANDOM.randbytes(100_000) + bytes(9_000_000) + RANDOM.randbytes(3_000_000)
NEW = OLD[:50_000] + b"inserted" + OLD[50_000:9_500_000] + bytes(reversed(OLD[9_500_000:]))


class Files:
    """An old file, a new one, and the delta between them."""

    def __init__(self, folder: Path, old: bytes, new: bytes) -> None:
        self.old, self.new = folder / "old", folder / "new"
        self.delta, self.made = folder / "delta", folder / "made"
        self.part = folder / f"made{PART}"
        self.old.write_bytes(old)
        self.new.write_bytes(new)
        make_delta(self.old, self.new, self.delta)

    def apply(self) -> bytes:
        apply_delta(self.old, self.delta, self.made)
        return self.made.read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("delta"), OLD, NEW)


def test_the_new_file_comes_out(files: Files) -> None:
    assert files.apply() == NEW
    assert not files.part.exists()


def test_equal_files_make_a_delta_of_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path, OLD, OLD)
    assert files.delta.stat().st_size < 1000
    assert files.apply() == OLD


@pytest.mark.parametrize(("old", "new"), [(b"", b""), (b"", b"new"), (b"old", b""), (b"a", b"b")])
def test_small_files(tmp_path: Path, old: bytes, new: bytes) -> None:
    assert Files(tmp_path, old, new).apply() == new


@given(old=st.binary(max_size=300), new=st.binary(max_size=300))
def test_any_two_files(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    assert Files(tmp_path_factory.mktemp("any"), old, new).apply() == new


@given(
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    data=st.data(),
    size=st.integers(0, 99),
)
def test_differences_are_undone(widths: list[int], data: st.DataObject, size: int) -> None:
    old = data.draw(st.binary(min_size=size, max_size=size))
    new = data.draw(st.binary(min_size=size, max_size=size))
    assert add(subtract(new, old, widths), old, widths) == new


def test_windows_hold_whole_blocks_and_leave_no_gap() -> None:
    region = Region(7, 10_000_001, 9, (1, 1, 16))
    cut = list(windows(region))
    assert all(one.size % 18 == 0 for one in cut[:-1])
    assert sum(one.size for one in cut) == region.size
    assert [one.offset - 7 for one in cut] == [one.old_offset - 9 for one in cut]
    assert max(one.size for one in cut) <= records.WINDOW


def test_another_old_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    files = Files(tmp_path, OLD, NEW)
    files.old.write_bytes(OLD[:-1] + b"x")
    with pytest.raises(PackagingError, match="is not the file") as refusal:
        files.apply()
    assert refusal.value.code == "PHI703"
    assert not files.part.exists()


def test_what_is_there_is_kept_until_the_new_file_is_whole(tmp_path: Path) -> None:
    files = Files(tmp_path, OLD, NEW)
    files.made.write_bytes(b"what was there")
    content = bytearray(files.delta.read_bytes())
    content[-1] ^= 1
    files.delta.write_bytes(content)
    with pytest.raises(PackagingError):
        files.apply()
    assert files.made.read_bytes() == b"what was there"


def test_it_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    """After a loss of power the file is short, and its last bytes may be anything."""
    files = Files(tmp_path, OLD, NEW)
    for _ in range(12):
        length = RANDOM.randrange(len(NEW))
        garbage = RANDOM.randbytes(RANDOM.randrange(5000))
        files.part.write_bytes(NEW[:length] + garbage)
        assert files.apply() == NEW
        files.made.unlink()


def test_what_was_made_before_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path, OLD, NEW)
    files.part.write_bytes(NEW[: 2 * records.WINDOW + 5])
    made: list[int] = []
    import phibuild_firmware.delta.apply as module

    real = module._window
    monkeypatch.setattr(
        module, "_window", lambda record, before: (made.append(1), real(record, before))[1]
    )
    assert files.apply() == NEW
    with files.delta.open("rb") as file:
        header = records.read_header(file)
    assert len(made) == header.records - 2


def test_a_longer_file_of_an_earlier_update_is_cut(tmp_path: Path) -> None:
    files = Files(tmp_path, b"old" * 99, b"new" * 99)
    files.part.write_bytes(b"new" * 200)
    assert files.apply() == b"new" * 99


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_changed_delta_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    files = Files(tmp_path_factory.mktemp("changed"), b"old and " * 40, b"new and " * 40 + b"more")
    content = bytearray(files.delta.read_bytes())
    content[at % len(content)] ^= 1 << bit
    files.delta.write_bytes(content)
    try:
        assert files.apply() == files.new.read_bytes()  # a bit that zstd does not look at
    except PackagingError as error:
        assert error.code == "PHI703"
        assert not files.made.exists()


@given(length=st.integers(0, 10**6))
def test_a_delta_that_is_cut_off_is_refused(
    tmp_path_factory: pytest.TempPathFactory, length: int
) -> None:
    files = Files(tmp_path_factory.mktemp("cut"), b"old and " * 40, b"new and " * 40)
    content = files.delta.read_bytes()
    files.delta.write_bytes(content[: length % len(content)])
    with pytest.raises(PackagingError):
        files.apply()


def test_the_format_is_pinned() -> None:
    header = records.Header(2, 3, 4, b"\1" * 32, b"\2" * 32).to_bytes()
    record = records.Record(2, 5, 6, 5, b"\3" * 32, (1, 1, 16), b"zstd").to_bytes()
    assert len(header) == 96
    assert header[:16] == b"PHIDELTA\1\0\0\0\2\0\0\0"
    assert record[:24] == bytes([2, 3, 0, 0, 5, 0, 0, 0, 6, *[0] * 7, 5, 0, 0, 0, 4, 0, 0, 0])
    assert record[24:] == b"\3" * 32 + b"\1\0\1\0\x10\0" + b"zstd"


def a_gguf(path: Path, weights: numpy.ndarray) -> Path:
    """A file with one tensor in Q4_0 and one in F32, by llama.cpp's Python package."""
    import gguf

    writer = gguf.GGUFWriter(path, "phi3")
    q4_0 = gguf.GGMLQuantizationType.Q4_0
    writer.add_tensor("blk.0.weight", gguf.quants.quantize(weights, q4_0), raw_dtype=q4_0)
    writer.add_tensor("norm.weight", weights[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_weights_that_moved_a_little_cost_a_little(tmp_path: Path) -> None:
    random_ = numpy.random.default_rng(1)
    weights = random_.standard_normal((512, 4096), numpy.float32)
    moved = weights * (1 + 0.001 * random_.standard_normal(weights.shape, numpy.float32))
    old, new = a_gguf(tmp_path / "a.gguf", weights), a_gguf(tmp_path / "b.gguf", moved)
    assert [one.widths for one in regions(old, new)] == [(1,), (1, 1, 16), (1, 1, 1, 1)]
    make_delta(old, new, tmp_path / "delta")
    share = (tmp_path / "delta").stat().st_size / new.stat().st_size
    assert share < 0.05
    apply_delta(old, tmp_path / "delta", tmp_path / "made")
    made = hashlib.sha256((tmp_path / "made").read_bytes()).digest()
    assert made == hashlib.sha256(new.read_bytes()).digest()
