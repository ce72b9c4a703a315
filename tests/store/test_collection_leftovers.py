"""Collection removes what killed processes left, and records of files that are gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phibuild.store import ObjectRange, Store
from phibuild.store.collection import carry_out
from tests.store.collecting import LONG_AGO, a_plan, a_result, collect, place


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_pieces_and_rows_of_what_is_gone_go(store: Store, tmp_path: Path) -> None:
    old, new = a_result(store, "old"), a_result(store, "new")
    os.utime(store.result_path(new.key))
    for result in (old, new):
        (entry,) = result.tree.entries
        store.record_pieces(entry, {f"piece of {result.action}": ObjectRange(0, 1, "0")})
        store.index.record_items(result.facts[0].value, {"a": "b"})
    file = tmp_path / "file"
    file.write_text("text")
    store.index.digest_of(file)
    file.unlink()
    place(store, new, tmp_path / "out")
    place(store, new, tmp_path / "gone")
    (tmp_path / "gone").unlink(), (tmp_path / "gone.phi.json").unlink()
    collect(store)
    assert store.recall_piece("piece of old") is None
    assert store.recall_piece("piece of new") is not None
    assert store.index.items_of(old.facts[0].value) is None
    assert store.index.items_of(new.facts[0].value) == {"a": "b"}
    assert store.index.placed_targets() == [str(tmp_path / "out")]
    database = store.index._database
    paths = [row[0] for row in database.rows("SELECT path FROM files")]
    assert all(Path(path).exists() for path in paths)


def test_what_killed_builds_left_goes(store: Store, tmp_path: Path) -> None:
    root = store.root
    result = a_result(store, "kept")
    place(store, result, tmp_path / "out")
    folders = [
        root / "work" / "abandoned",
        root / "code" / "0123",
        root / "toolchains" / ".abc.phi-new",
        root / "toolchains" / ".phi-new-abc",
    ]
    files = [
        root / "logs" / "old.txt",
        root / "results" / ".half",
        root / "results" / ("0" * 64),
        root / "objects" / "ab" / "no-object",
        root / "locks" / "free",
        root / "index.sqlite.aside-1",
        root / "plugins.json",
    ]
    for path in folders:
        path.mkdir(parents=True)
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{")
    for path in (*folders, *files):
        os.utime(path, (LONG_AGO, LONG_AGO))
    fresh = [root / "logs" / "new.txt", root / "code" / "new"]
    for path in fresh:
        path.touch()
    with store.workspace() as working, store.locked("held"):
        (working / "file").touch()
        collect(store)
        assert (working / "file").exists()
        assert (root / "locks" / "held").exists()
    assert [str(path) for path in (*folders, *files) if path.exists()] == []
    assert all(path.exists() for path in fresh)
    assert store.recall(result.key) == result


def test_what_a_killed_build_left_beside_an_artifact_goes(store: Store, tmp_path: Path) -> None:
    result = a_result(store, "kept")
    place(store, result, tmp_path / "out")
    left = tmp_path / ".out.abcd_123.phi-new"
    (left / "old").mkdir(parents=True)
    (left / "old" / "mine").write_text("mine")
    freed = carry_out(store, a_plan(store))
    assert not left.exists()
    assert [(path / "mine").read_text() for path in freed.kept] == ["mine"]


def test_a_folder_that_a_killed_process_worked_in_is_swept_and_anothers_is_not(
    store: Store,
) -> None:
    child = os.fork()
    if child == 0:
        with store.workspace() as folder:
            (folder / "large").write_text("x")
            os._exit(9)
    os.waitpid(child, 0)
    with store.workspace() as folder:
        assert len(list((store.root / "work").iterdir())) == 2
        store.sweep()
        assert list((store.root / "work").iterdir()) == [folder]
