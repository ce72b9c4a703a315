"""Artifacts are files of their own: what happens to one reaches no object and no other artifact."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from phibuild.model.errors import StoreError
from phibuild.model.tree import Tree
from phibuild.store import Store, copying, lies_at, place_artifact
from phibuild.store.copying import LINK, SMALL, Way, copy_file, way_to
from tests.disks import mounted, tmpfs
from tests.firmware.tools import needed_tool


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def a_tree(store: Store, *, size: int = SMALL, name: str = "weights.bin") -> Tree:
    """A folder with a large file, a small one and an executable."""
    with store.workspace() as folder:
        folder_of_files = folder / "made"
        folder_of_files.mkdir()
        (folder_of_files / name).write_bytes(b"x" * size)
        (folder_of_files / "small.txt").write_text("small")
        (folder_of_files / "run.sh").write_text("run")
        (folder_of_files / "run.sh").chmod(0o755)
        return store.put(folder_of_files)


def objects(store: Store) -> dict[str, tuple[int, int, int]]:
    """Each object with its links, its time and its mode."""
    return {
        path.name: (path.stat().st_nlink, path.stat().st_mtime_ns, path.stat().st_mode)
        for path in (store.root / "objects").rglob("*")
        if path.is_file()
    }


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_an_artifact_shares_no_file_with_the_store(store: Store, tmp_path: Path) -> None:
    tree = a_tree(store)
    before = objects(store)
    for name in ("one", "other"):
        place_artifact(store, tree, tmp_path / name, known=None)
    assert objects(store) == before
    for entry in tree.entries:
        with (tmp_path / "one" / entry.path).open("r+b") as stream:
            stream.write(b"mine")
    assert store.has(tree)
    assert lies_at(store, tree, str(tmp_path / "other"))
    assert not lies_at(store, tree, str(tmp_path / "one"))


@pytest.mark.usefixtures("umask")
def test_modes_are_those_of_new_files(store: Store, tmp_path: Path) -> None:
    place_artifact(store, a_tree(store), tmp_path / "out", known=None)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()}
    assert modes == {"weights.bin": 0o640, "small.txt": 0o640, "run.sh": 0o750}


def test_hard_links_are_made_on_request_of_large_files_only(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LINK, "hard")
    tree = a_tree(store)
    place_artifact(store, tree, tmp_path / "out", known=None)
    links = {path.name: path.stat().st_nlink for path in (tmp_path / "out").iterdir()}
    assert links == {"weights.bin": 2, "small.txt": 1, "run.sh": 1}
    assert (tmp_path / "out" / "weights.bin").stat().st_mode & 0o777 == 0o444
    assert lies_at(store, tree, str(tmp_path / "out"))
    before = (tmp_path / "out" / "weights.bin").stat()
    place_artifact(store, tree, tmp_path / "other", known=None)
    assert lies_at(store, tree, str(tmp_path / "out"))
    after = (tmp_path / "out" / "weights.bin").stat()
    assert (after.st_mtime_ns, after.st_nlink) == (before.st_mtime_ns, before.st_nlink)
    assert (tmp_path / "other" / "weights.bin").stat().st_nlink == 1


def test_what_onnx_opens_is_never_a_hard_link(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LINK, "hard")
    place_artifact(store, a_tree(store, name="model.onnx"), tmp_path / "out", known=None)
    assert (tmp_path / "out" / "model.onnx").stat().st_nlink == 1


def test_another_value_is_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LINK, "soft")
    with pytest.raises(StoreError, match="PHIBUILD_LINK=soft is not supported") as refusal:
        place_artifact(store, a_tree(store), tmp_path / "out", known=None)
    assert refusal.value.code == "PHI305"
    assert not (tmp_path / "out").exists()


def test_a_hard_link_of_an_earlier_version_is_known_and_becomes_a_copy(
    store: Store, tmp_path: Path
) -> None:
    tree = a_tree(store)
    (tmp_path / "out").mkdir()
    for entry in tree.entries:
        (tmp_path / "out" / entry.path).hardlink_to(store.object_path(entry))
    assert lies_at(store, tree, str(tmp_path / "out"))
    (tmp_path / "out" / "small.txt").unlink()
    assert place_artifact(store, tree, tmp_path / "out", known=tree).changed == ()
    assert {path.stat().st_nlink for path in (tmp_path / "out").iterdir()} == {1}


def test_a_changed_byte_under_a_kept_time_is_found(store: Store, tmp_path: Path) -> None:
    tree = a_tree(store)
    place_artifact(store, tree, tmp_path / "out", known=None)
    path = tmp_path / "out" / "weights.bin"
    before = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"y")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not lies_at(store, tree, str(tmp_path / "out"))


def test_a_touched_or_moved_artifact_is_read_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = a_tree(store)
    place_artifact(store, tree, tmp_path / "out", known=None)
    os.utime(tmp_path / "out" / "weights.bin")
    (tmp_path / "out").rename(tmp_path / "moved")
    assert lies_at(store, tree, str(tmp_path / "moved"))
    monkeypatch.setattr(store.index, "digest_of", None)
    assert lies_at(store, tree, str(tmp_path / "moved"))


def test_each_way_of_the_kernel_goes_on_where_the_one_before_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * SMALL + 5))

    def half(reading: int, writing: int, count: int, calls: list[int] = []) -> int:  # noqa: B006
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.EXDEV, "not between these")
        return os.write(writing, os.read(reading, SMALL))

    monkeypatch.setattr(copying, "_reflink", lambda reading, writing: False)
    monkeypatch.setattr(os, "copy_file_range", half)
    monkeypatch.setattr(copying, "_CHUNK", SMALL)
    copy_file(source, tmp_path / "one", executable=False)
    assert (tmp_path / "one").read_bytes() == source.read_bytes()
    monkeypatch.setattr(copying, "_move_in_kernel", lambda reading, writing: 0)
    monkeypatch.setattr(copying, "_move_in_file_system", lambda reading, writing: 0)
    copy_file(source, tmp_path / "other", executable=False)
    assert (tmp_path / "other").read_bytes() == source.read_bytes()


def test_an_empty_file_is_copied(tmp_path: Path) -> None:
    (tmp_path / "source").touch()
    copy_file(tmp_path / "source", tmp_path / "target", executable=True)
    assert (tmp_path / "target").read_bytes() == b""


def test_an_output_that_somebody_else_has_a_link_to_is_copied_into_the_store(
    store: Store, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("text")
    with store.workspace() as folder:
        (folder / "output").hardlink_to(mine)
        tree = store.put(folder / "output")
    mine.write_text("changed")
    assert store.has(tree)
    assert mine.stat().st_mode & 0o777 == 0o644


def test_a_view_shows_small_files_as_copies_and_large_ones_as_links(
    store: Store, tmp_path: Path
) -> None:
    with store.workspace() as folder:
        store.show(a_tree(store), folder / "view")
        links = {path.name: path.stat().st_nlink for path in (folder / "view").iterdir()}
    is_shared = way_to(store.root, source=store.marker) is Way.REFLINK
    assert links == {"weights.bin": 1 if is_shared else 2, "small.txt": 1, "run.sh": 1}


def test_a_copy_that_finds_no_room_leaves_what_was_there(store: Store, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "3m") as small:
        assert way_to(small, source=store.marker) is Way.COPY
        old, new = a_tree(store), a_tree(store, size=8 * SMALL)
        place_artifact(store, old, small / "out", known=None)
        with pytest.raises(OSError, match="No space left"):
            place_artifact(store, new, small / "out", known=old)
        assert lies_at(store, old, str(small / "out"))
        assert [path.name for path in small.iterdir()] == ["out"]


def test_a_file_system_with_reflinks_shares_blocks(tmp_path: Path) -> None:
    disk, place = tmp_path / "disk", tmp_path / "place"
    with disk.open("wb") as stream:
        stream.truncate(400 << 20)
    place.mkdir()
    subprocess.run([needed_tool("mkfs.xfs"), "-q", disk], check=True)
    with mounted(place, "-o", "loop", disk):
        store = Store(place / "store")
        assert way_to(place, source=store.marker) is Way.REFLINK
        tree = a_tree(store, size=32 * SMALL)
        free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
        place_artifact(store, tree, place / "out", known=None)
        assert free - os.statvfs(place).f_bavail * os.statvfs(place).f_bsize < SMALL
        store.close()
