"""The store keeps bytes by digest, never hands out wrong ones, and never modifies what is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from phibuild.model.digest import Digest
from phibuild.model.errors import ActionError, StoreError
from phibuild.model.facts import Fact
from phibuild.model.tree import Tree
from phibuild.store import ActionResult, FolderLock, Store, lies_at, place_artifact
from phibuild.store.copying import SMALL


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def a_file(store: Store, text: str = "hello", name: str = "made") -> Tree:
    path = store.root / name
    path.write_text(text)
    return store.put(path)


def a_folder(store: Store) -> Tree:
    folder = store.root / "made"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "sub" / "b.sh").write_text("b")
    (folder / "sub" / "b.sh").chmod(0o755)
    return store.put(folder)


def test_a_file_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    tree = a_file(store)
    place_artifact(store, tree, tmp_path / "out" / "x.txt", known=None)
    assert (tmp_path / "out" / "x.txt").read_text() == "hello"
    assert tree.digest == Digest.of(b"hello")


def test_a_file_whose_digest_was_told_is_read_only_if_it_changed_since(store: Store) -> None:
    path = store.root / "made"
    path.write_bytes(bytes(SMALL))
    known = {".": store.known_digest(path, Digest.of(b"what the worker says"))}
    assert store.put(path, known).entries[0].digest == Digest.of(b"what the worker says")
    path.write_bytes(bytes(SMALL))
    known = {".": store.known_digest(path, Digest.of(b"what the worker says"))}
    path.write_bytes(b"x" * SMALL)
    assert store.put(path, known).entries[0].digest == Digest.of(b"x" * SMALL)


def test_a_small_file_is_read_whatever_was_told_of_it(store: Store) -> None:
    path = store.root / "made"
    path.write_text("hello")
    known = {".": store.known_digest(path, Digest.of(b"what the worker says"))}
    assert store.put(path, known).entries[0].digest == Digest.of(b"hello")


def test_a_folder_comes_back_with_its_executables(store: Store, tmp_path: Path) -> None:
    tree = a_folder(store)
    place_artifact(store, tree, tmp_path / "out", known=None)
    assert [entry.path for entry in tree.entries] == ["a.txt", "sub/b.sh"]
    assert (tmp_path / "out" / "sub" / "b.sh").stat().st_mode & 0o100
    assert not (tmp_path / "out" / "a.txt").stat().st_mode & 0o100


def test_equal_bytes_are_kept_once(store: Store) -> None:
    first, second = a_file(store, name="one"), a_file(store, name="other")
    assert first == second
    assert len([path for path in (store.root / "objects").rglob("*") if path.is_file()]) == 1


def test_an_object_that_was_changed_in_place_is_not_handed_out(
    store: Store, tmp_path: Path
) -> None:
    tree = a_file(store)
    place_artifact(store, tree, tmp_path / "x", known=None)
    place = store.object_path(tree.entries[0])
    place.chmod(0o644)
    place.write_text("HELLO")
    assert not store.has(tree)
    with pytest.raises(StoreError):
        place_artifact(store, tree, tmp_path / "y", known=None)
    assert not (tmp_path / "y").exists()


def test_a_changed_artifact_is_noticed(store: Store, tmp_path: Path) -> None:
    tree = a_file(store)
    place_artifact(store, tree, tmp_path / "x", known=None)
    assert lies_at(store, tree, str(tmp_path / "x"))
    (tmp_path / "x").unlink()
    assert not lies_at(store, tree, str(tmp_path / "x"))
    (tmp_path / "x").write_text("hullo")
    assert not lies_at(store, tree, str(tmp_path / "x"))


def test_losing_the_index_loses_nothing(store: Store, tmp_path: Path) -> None:
    tree = a_file(store)
    for path in store.root.glob("index.sqlite*"):
        path.unlink()
    assert Store(store.root).has(tree)


def test_an_output_with_a_link_is_refused(store: Store) -> None:
    folder = store.root / "made"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="not a regular file"):
        store.put(folder)


def test_a_result_is_recalled_and_an_unreadable_one_is_a_miss(store: Store) -> None:
    key = Digest.of(b"key")
    result = ActionResult(
        key, "a", (Fact("f", "1"),), (("in", key),), a_file(store), 1.0, 2, "2026", "me"
    )
    store.record(result)
    assert store.recall(key) == result
    (store.root / "results" / key.hex).write_text("{")
    assert store.recall(key) is None


def test_an_unknown_format_is_refused(store: Store) -> None:
    (store.root / "format").write_text("phibuild-store/99\n")
    with pytest.raises(StoreError, match="phibuild-store/99"):
        Store(store.root)


def test_one_build_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    first = FolderLock(tmp_path / "lock", folder=tmp_path)
    with pytest.raises(ActionError, match="another build") as refusal:
        FolderLock(tmp_path / "lock", folder=tmp_path)
    assert refusal.value.code == "PHI405"
    first.release()
    FolderLock(tmp_path / "lock", folder=tmp_path).release()


@pytest.mark.parametrize("name", ["notes.txt", ".bashrc", "objects/mine", "formats"])
def test_a_folder_of_the_users_does_not_become_a_store(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    with pytest.raises(StoreError, match="is not a store and is not empty") as refusal:
        Store(folder)
    assert refusal.value.code == "PHI302"
    assert "set PHIBUILD_STORE to an empty folder" in refusal.value.hint
    assert [path.name for path in folder.iterdir()] == [Path(name).parts[0]]


def test_an_empty_folder_and_an_empty_file_system_become_stores(tmp_path: Path) -> None:
    for name, inside in (("empty", ()), ("disk", ("lost+found",)), ("linked", ("toolchains",))):
        folder = tmp_path / name
        folder.mkdir()
        for child in inside:
            (folder / child).mkdir()
        Store(folder)
        assert (folder / "format").is_file()


def test_processes_may_create_a_store_at_the_same_time(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from phibuild.store import Store;"
        "Store(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "store")]
    started = [subprocess.Popen(command) for _ in range(6)]
    assert [process.wait() for process in started] == [0] * 6
