"""Deltas: from any file to any other, refused for wrong old bytes, resumed after a cut."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phibuild_delta import apply, records
from phibuild_delta.apply import apply_delta, partial_path
from phibuild_delta.differences import add, subtract
from phibuild_delta.make import WINDOW, make_delta
from phibuild_delta.records import Field
from phibuild_delta.regions import Region, regions, windows
from phibuild_delta.spaces import File, Space, files_of

from phibuild.model.errors import PackagingError
from tests.snapshots import snapshot

RANDOM = random.Random(3)
OLD = RANDOM.randbytes(100_000) + bytes(9_000_000) + RANDOM.randbytes(3_000_000)
NEW = OLD[:50_000] + b"inserted" + OLD[50_000:9_500_000] + bytes(reversed(OLD[9_500_000:]))


class Files:
    """An old file, a new one, and the delta between them."""

    def __init__(self, folder: Path, old: bytes, new: bytes) -> None:
        self.old, self.new = folder / "old", folder / "new"
        self.delta, self.result = folder / "delta", folder / "result"
        self.old.write_bytes(old)
        self.new.write_bytes(new)
        make_delta(self.old, self.new, self.delta)
        self.part = partial_path(self.result, self.delta)

    def apply(self) -> bytes:
        apply_delta(self.old, self.delta, self.result)
        return self.result.read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("delta"), OLD, NEW)


def test_the_result_is_the_new_file(files: Files) -> None:
    assert files.apply() == NEW
    assert not files.part.exists()


def test_the_delta_of_equal_files_is_tiny(tmp_path: Path) -> None:
    files = Files(tmp_path, OLD, OLD)
    assert files.delta.stat().st_size < 1000
    assert files.apply() == OLD


@pytest.mark.parametrize(("old", "new"), [(b"", b""), (b"", b"new"), (b"old", b""), (b"a", b"b")])
def test_small_files(tmp_path: Path, old: bytes, new: bytes) -> None:
    assert Files(tmp_path, old, new).apply() == new


@settings(deadline=None)
@given(old=st.binary(max_size=300), new=st.binary(max_size=300))
def test_any_two_files(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    assert Files(tmp_path_factory.mktemp("any"), old, new).apply() == new


FIELDS = st.lists(
    st.one_of(st.integers(1, 9).map(Field), st.sampled_from([Field(2, True), Field(4, True)])),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(fields=FIELDS, data=st.data(), blocks=st.integers(1, 60), changes=st.integers(0, 9))
def test_add_is_the_inverse_of_subtract(
    fields: list[Field], data: st.DataObject, blocks: int, changes: int
) -> None:
    size = blocks * sum(field.width for field in fields)
    old = data.draw(st.binary(min_size=size, max_size=size))
    new = bytearray(data.draw(st.binary(min_size=size, max_size=size)) if changes > 7 else old)
    for _ in range(changes):
        new[data.draw(st.integers(0, size - 1))] ^= 5
    parts, chosen = subtract(bytes(new), old, fields)
    assert add(b"".join(parts), old, chosen) == new


def test_distant_differences_are_added() -> None:
    old, new = bytes(5000), bytearray(5000)
    for at in (255, 511, 512, 1024, 1025, 4999):
        new[at] = 9
    parts, chosen = subtract(bytes(new), old, [Field(1)])
    assert chosen == (Field(1, is_sparse=True),)
    assert sum(map(len, parts)) < 60
    assert add(b"".join(parts), old, chosen) == new


def test_windows_hold_whole_blocks_and_leave_no_gap() -> None:
    fields = (Field(2, True), Field(16))
    region = Region(7, 18 * 500_000, 9, 18 * 500_000, fields)
    parts = list(windows(region, WINDOW, [File("", 10_000_000)]))
    assert all(part.size % 18 == 0 for part in parts)
    assert sum(part.size for part in parts) == region.size
    old_offsets = [part.old_offset for part in parts if part.old_offset]
    assert [part.offset - 7 for part in parts] == [offset - 9 for offset in old_offsets]
    assert max(part.size for part in parts) <= WINDOW


def test_a_wrong_old_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    files = Files(tmp_path, OLD, NEW)
    files.old.write_bytes(OLD[:-1] + b"x")
    with pytest.raises(PackagingError, match="is not what") as refusal:
        files.apply()
    assert refusal.value.code == "PHI703"
    assert not files.part.exists()


def test_an_existing_file_is_kept_when_a_delta_is_damaged(tmp_path: Path) -> None:
    files = Files(tmp_path, OLD, NEW)
    files.result.write_bytes(b"existing")
    content = bytearray(files.delta.read_bytes())
    content[-1] ^= 1
    files.delta.write_bytes(content)
    with pytest.raises(PackagingError):
        files.apply()
    assert files.result.read_bytes() == b"existing"


def test_it_resumes_where_it_was_cut_off(tmp_path: Path) -> None:
    """After a loss of power the file is short, and its last bytes may be anything."""
    files = Files(tmp_path, OLD, NEW)
    for _ in range(12):
        length = RANDOM.randrange(len(NEW))
        garbage = RANDOM.randbytes(RANDOM.randrange(5000))
        files.part.write_bytes(NEW[:length] + garbage)
        assert files.apply() == NEW
        files.result.unlink()


def test_finished_windows_are_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also behind a window whose write was lost."""
    files = Files(tmp_path, OLD, NEW)
    files.part.write_bytes(bytes(WINDOW) + NEW[WINDOW:])
    computed: list[int] = []
    real = apply._content
    monkeypatch.setattr(
        apply, "_content", lambda record, *rest: (computed.append(1), real(record, *rest))[1]
    )
    assert files.apply() == NEW
    assert len(computed) == 1


def test_a_longer_file_of_an_earlier_update_is_truncated(tmp_path: Path) -> None:
    files = Files(tmp_path, b"old" * 99, b"new" * 99)
    files.part.write_bytes(b"new" * 200)
    assert files.apply() == b"new" * 99


@settings(deadline=None)
@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_changed_delta_is_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    files = Files(tmp_path_factory.mktemp("changed"), b"old and " * 40, b"new and " * 40 + b"more")
    content = bytearray(files.delta.read_bytes())
    content[at % len(content)] ^= 1 << bit
    files.delta.write_bytes(content)
    try:
        assert files.apply() == files.new.read_bytes()  # a bit that zstd ignores
    except PackagingError as error:
        assert error.code == "PHI703"
        assert not files.result.exists()


@settings(deadline=None)
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
    header = records.Header(0, 4096, 2, 3, 4, b"\1" * 32, b"\2" * 32).to_bytes()
    fields = (Field(2, is_number=True), Field(16, is_sparse=True))
    record = records.Record(3, 36, 6, 36, b"\3" * 32, fields, b"zstd").to_bytes()
    entry = records.write_files([File("a/b", 5, True)])
    assert len(header) == 128
    assert header[:24] == b"PHIDELTA\1\0\0\0\0\0\0\0\0\x10\0\0\2\0\0\0"
    assert record[:24] == bytes([3, 2, 0, 0, 36, 0, 0, 0, 6, *[0] * 7, 36, 0, 0, 0, 4, 0, 0, 0])
    assert record[24:] == b"\3" * 32 + b"\2\x40\x10\x80" + b"zstd"
    assert entry == b"\1\0\3\0\5\0\0\0\0\0\0\0a/b"


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
    with Space(old, files_of(old)) as before, Space(new, files_of(new)) as after:
        fields = [region.fields for region in regions(old, before, new, after)]
    assert fields == [(Field(1),), (Field(2, True), Field(16)), (Field(4, True),)]
    make_delta(old, new, tmp_path / "delta")
    share = (tmp_path / "delta").stat().st_size / new.stat().st_size
    assert share < 0.04
    result = tmp_path / "result"
    apply_delta(old, tmp_path / "delta", result)
    assert hashlib.sha256(result.read_bytes()).digest() == hashlib.sha256(new.read_bytes()).digest()


def test_an_existing_file_is_not_replaced_unless_it_is_the_result(tmp_path: Path) -> None:
    files = Files(tmp_path, b"old" * 99, b"new" * 99)
    assert files.apply() == b"new" * 99
    seen = files.result.stat().st_mtime_ns
    assert files.apply() == b"new" * 99
    assert files.result.stat().st_mtime_ns == seen
    for content in (b"mine", b"mew" * 99):
        files.result.write_bytes(content)
        with pytest.raises(PackagingError, match="already exists") as refusal:
            files.apply()
        assert refusal.value.code == "PHI703"
        assert files.result.read_bytes() == content
    with pytest.raises(PackagingError, match="already exists"):
        apply_delta(files.old, files.delta, files.old)
    assert files.old.read_bytes() == b"old" * 99


@pytest.mark.parametrize("leads_to", ["old", "not/there", "mine", "."])
def test_a_link_is_not_replaced(tmp_path: Path, leads_to: str) -> None:
    files = Files(tmp_path, b"old" * 99, b"new" * 99)
    (tmp_path / "mine").write_bytes(b"mine")
    files.result.symlink_to(leads_to)
    before = snapshot(tmp_path)
    with pytest.raises(PackagingError, match="already exists"):
        files.apply()
    assert snapshot(tmp_path) == before


def test_another_file_with_the_suffix_part_is_not_touched(tmp_path: Path) -> None:
    files = Files(tmp_path, b"old" * 99, b"new" * 99)
    (tmp_path / "result.part").mkdir()
    (tmp_path / "result.part" / "notes.txt").write_bytes(b"mine")
    assert files.apply() == b"new" * 99
    assert (tmp_path / "result.part" / "notes.txt").read_bytes() == b"mine"


def test_a_delta_replaces_only_a_delta(tmp_path: Path) -> None:
    files = Files(tmp_path, b"old" * 99, b"new" * 99)
    make_delta(files.old, files.new, files.delta)
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(files.delta)
    (tmp_path / "dangling").symlink_to("not/there")
    for name in ("old", "new", "mine", "folder", "link", "dangling"):
        before = snapshot(tmp_path)
        with pytest.raises(PackagingError, match="already exists, and is not a delta"):
            make_delta(files.old, files.new, tmp_path / name)
        assert snapshot(tmp_path) == before
    with pytest.raises(PackagingError, match="already exists"):
        make_delta(files.delta, files.new, files.delta)
