"""An artifact replaces what phibuild put there, in one step, and nothing else is ever lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.model.errors import StoreError
from phibuild.model.tree import Tree
from phibuild.store import Store, lies_at, place_artifact, placed_tree
from phibuild.store import artifacts as artifacts_module
from phibuild.store.place import beside, replace_file


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "dist" / "out"


def a_tree(store: Store, **texts: str) -> Tree:
    """A folder with these files; in a name `__` stands for a slash and `_` for a dot."""
    with store.workspace() as folder:
        for name, text in texts.items():
            path = folder / "made" / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return store.put(folder / "made")


def a_file(store: Store, text: str) -> Tree:
    with store.workspace() as folder:
        (folder / "made").write_text(text)
        return store.put(folder / "made")


def snapshot(folder: Path) -> dict[str, str]:
    """Every path inside, with a text of what it is."""
    return {
        str(path.relative_to(folder)): (
            f"link to {path.readlink()}"
            if path.is_symlink()
            else path.read_text()
            if path.is_file()
            else "folder"
        )
        for path in sorted(folder.rglob("*"))
    }


def spoilt(**edits: Callable[[Path], object]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("spoil", edits.values(), ids=edits.keys())


def test_a_known_folder_is_replaced_with_all_its_files(store: Store, target: Path) -> None:
    old, new = a_tree(store, a_txt="a", sub__b="b"), a_tree(store, a_txt="A", other__c="c")
    place_artifact(store, old, target, known=None)
    done = place_artifact(store, new, target, known=old)
    assert snapshot(target.parent) == {
        "out": "folder",
        "out/a.txt": "A",
        "out/other": "folder",
        "out/other/c": "c",
    }
    assert done == ((), ())


def test_a_known_file_may_become_a_folder_and_a_folder_a_file(store: Store, target: Path) -> None:
    folder, file = a_tree(store, a="a"), a_file(store, "text")
    known = None
    for tree in (folder, file, folder):
        place_artifact(store, tree, target, known=known)
        known = tree
        assert lies_at(store, tree, str(target))
    assert snapshot(target.parent) == {"out": "folder", "out/a": "a"}


def test_an_empty_folder_may_be_there(store: Store, target: Path) -> None:
    target.mkdir(parents=True)
    place_artifact(store, a_tree(store, a="a"), target, known=None)
    assert snapshot(target.parent) == {"out": "folder", "out/a": "a"}


def users_file(target: Path) -> None:
    target.parent.mkdir()
    target.write_text("mine")


def users_folder(target: Path) -> None:
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "mine.txt").write_text("mine")


def users_link(target: Path) -> None:
    users_folder(target.with_name("elsewhere"))
    target.symlink_to("elsewhere")


def users_dangling_link(target: Path) -> None:
    target.parent.mkdir()
    target.symlink_to("nowhere")


def users_pipe(target: Path) -> None:
    target.parent.mkdir()
    os.mkfifo(target)


@spoilt(
    file=users_file,
    folder=users_folder,
    link=users_link,
    dangling=users_dangling_link,
    pipe=users_pipe,
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_the_users_is_refused(
    store: Store, target: Path, spoil: Callable[[Path], object], kind: str
) -> None:
    tree = a_file(store, "x") if kind == "file" else a_tree(store, sub__mine_txt="x")
    spoil(target)
    before = sorted(target.parent.rglob("*"))
    with pytest.raises(StoreError, match="out is a") as refusal:
        place_artifact(store, tree, target, known=None)
    assert refusal.value.code == "PHI304"
    assert sorted(target.parent.rglob("*")) == before


@spoilt(
    file=lambda out: (out / "notes.txt").write_text("mine"),
    deep=lambda out: (out / "sub" / "notes.txt").write_text("mine"),
    hidden=lambda out: (out / ".notes").write_text("mine"),
    odd=lambda out: (out / "a b,\n[x]\udcff").write_text("mine"),
    empty=lambda out: (out / "empty").mkdir(),
    link=lambda out: (out / "link").symlink_to("/etc/hostname"),
    pipe=lambda out: os.mkfifo(out / "pipe"),
    file_to_link=lambda out: ((out / "a").rename(out.parent / "a"), (out / "a").symlink_to("../a")),
    file_to_folder=lambda out: ((out / "a").unlink(), (out / "a").mkdir()),
    folder_to_link=lambda out: (
        (out / "sub").rename(out.parent / "sub"),
        (out / "sub").symlink_to("../sub"),
    ),
)
def test_what_the_user_added_is_named_and_stays(
    store: Store, target: Path, spoil: Callable[[Path], object]
) -> None:
    old, new = a_tree(store, a="a", sub__b="b"), a_tree(store, a="A")
    place_artifact(store, old, target, known=None)
    spoil(target)
    before = sorted(target.parent.rglob("*"))
    with pytest.raises(StoreError, match="holds files that phibuild did not build: ") as refusal:
        place_artifact(store, new, target, known=old)
    assert refusal.value.code == "PHI304"
    assert "\n" not in refusal.value.message
    assert sorted(target.parent.rglob("*")) == before


def test_many_are_counted(store: Store, target: Path) -> None:
    users_folder(target)
    for number in range(9):
        (target / f"file-{number}").write_text("mine")
    with pytest.raises(StoreError, match=r"holds file-0, .*file-4 and 5 more\n"):
        place_artifact(store, a_tree(store, a="a"), target, known=None)


def test_a_changed_file_is_replaced_and_named(store: Store, target: Path) -> None:
    old, new = a_tree(store, a="a", b="b", c="c"), a_tree(store, a="A", b="b", c="c")
    place_artifact(store, old, target, known=None)
    (target / "b").write_text("mine")
    os.utime(target / "c")
    assert place_artifact(store, new, target, known=old).changed == ("b",)
    (target / "a").unlink()
    assert place_artifact(store, old, target, known=new).changed == ()


def test_a_file_that_both_artifacts_have_is_not_copied_again(store: Store, target: Path) -> None:
    old, new = a_tree(store, a="a", b="b", c="c"), a_tree(store, a="A", b="b", c="c")
    place_artifact(store, old, target, known=None)
    before = {path.name: path.stat() for path in target.iterdir()}
    (target / "c").write_text("c")  # nobody knows what it holds without reading it
    place_artifact(store, new, target, known=old)
    after = {path.name: path.stat() for path in target.iterdir()}
    assert [name for name in "abc" if after[name].st_ino == before[name].st_ino] == ["b"]
    assert after["b"].st_mtime_ns > before["b"].st_mtime_ns
    assert {status.st_nlink for status in after.values()} == {1}
    assert lies_at(store, new, str(target))


def test_a_file_that_is_changed_while_it_is_taken_over_is_found(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = a_tree(store, a="a", b="b"), a_tree(store, a="A", b="b")
    place_artifact(store, old, target, known=None)
    in_between(monkeypatch, lambda: (target / "b").write_text("mine"))
    place_artifact(store, new, target, known=old)
    assert not lies_at(store, new, str(target))


def test_a_hard_link_of_an_earlier_version_is_not_taken_over(store: Store, target: Path) -> None:
    old, new = a_tree(store, a="a", b="b"), a_tree(store, a="A", b="b")
    place_artifact(store, old, target, known=None)
    (target / "b").unlink()
    (target / "b").hardlink_to(store.object_path(old.entries[1]))
    assert lies_at(store, old, str(target))
    place_artifact(store, new, target, known=old)
    assert (target / "b").stat().st_nlink == 1


def test_files_of_other_rules_are_carried_over(store: Store, target: Path) -> None:
    old, new = a_tree(store, a_c="a", sub__b_c="b"), a_tree(store, a_c="A")
    place_artifact(store, old, target, known=None)
    (target / "a.o").write_text("object")
    (target / "sub" / "b.o").write_text("object")
    (target / "deps").mkdir()
    (target / "deps" / "a.d").write_text("rule")
    place_artifact(store, new, target, known=old, keeps_others=True)
    assert snapshot(target.parent) == {
        "out": "folder",
        "out/a.c": "A",
        "out/a.o": "object",
        "out/deps": "folder",
        "out/deps/a.d": "rule",
        "out/sub": "folder",
        "out/sub/b.o": "object",
    }


def test_a_file_of_other_rules_that_has_a_new_files_name_is_refused(
    store: Store, target: Path
) -> None:
    old, new = a_tree(store, a="a"), a_tree(store, a="A", b="b")
    place_artifact(store, old, target, known=None)
    (target / "b").write_text("mine")
    with pytest.raises(StoreError, match=r"did not build: b\n"):
        place_artifact(store, new, target, known=old, keeps_others=True)
    assert (target / "b").read_text() == "mine"


def in_between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do this between the last look at the target and its replacement."""
    intend = artifacts_module.intend

    def intend_late(*arguments: object, **keywords: object) -> None:
        intend(*arguments, **keywords)  # type: ignore[arg-type]
        act()

    monkeypatch.setattr(artifacts_module, "intend", intend_late)


def test_what_appears_at_a_free_path_in_the_last_moment_stays(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_between(monkeypatch, lambda: target.write_text("mine"))
    done = place_artifact(store, a_tree(store, a="a"), target, known=None)
    (kept,) = done.kept
    assert kept.read_text() == "mine"
    assert snapshot(target.parent) == {"out": "folder", "out.kept-1": "mine", "out/a": "a"}


def test_what_appears_in_the_folder_in_the_last_moment_is_kept(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = a_tree(store, a="a"), a_tree(store, a="A", late="new")
    place_artifact(store, old, target, known=None)
    target.with_name("out.kept-1").write_text("an earlier one")
    in_between(monkeypatch, lambda: (target / "late").write_text("mine"))
    done = place_artifact(store, new, target, known=old)
    assert done.kept == (target.with_name("out.kept-2"),)
    assert snapshot(target.with_name("out.kept-2")) == {"late": "mine"}
    assert lies_at(store, new, str(target))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_a_killed_build_left_is_cleared_and_nothing_of_the_users_is_lost(
    store: Store, target: Path, moment: str
) -> None:
    """The child is killed at the exchange, with a user's file in the old artifact."""
    old, new = a_tree(store, a="a"), a_tree(store, a="A", b="b")
    place_artifact(store, old, target, known=None)
    child = os.fork()
    if child == 0:
        with beside(target, ["a", "b"], on_kept=lambda path: None) as place:
            store.copy_tree(new, place.new)
            (target / "mine").write_text("mine")
            if moment == "after":
                place.swap(target)
            os._exit(9)
    os.waitpid(child, 0)
    assert any(path.name.endswith(".phi-new") for path in target.parent.iterdir())
    (target / "mine").unlink(missing_ok=True)
    done = place_artifact(store, new, target, known=old if moment == "before" else new)
    assert lies_at(store, new, str(target))
    expected = {"out": "folder", "out/a": "A", "out/b": "b"}
    if moment == "after":
        assert done.kept == (target.with_name("out.kept-1"),)
        expected |= {"out.kept-1": "folder", "out.kept-1/mine": "mine"}
    assert snapshot(target.parent) == expected


def test_a_folder_of_another_build_at_work_is_left_alone(store: Store, target: Path) -> None:
    target.parent.mkdir()
    with beside(target, ["a"], on_kept=lambda path: None) as place:
        store.copy_tree(a_tree(store, a="a"), place.new)
        place_artifact(store, a_tree(store, a="A"), target, known=None)
        assert (place.new / "a").read_text() == "a"
    assert snapshot(target.parent) == {"out": "folder", "out/a": "A"}


def test_what_an_earlier_version_left_is_kept(store: Store, target: Path) -> None:
    """It has no journal, so that nobody knows whose files these are."""
    left = target.with_name(".out.abcd_123.phi-new")
    (left / "old").mkdir(parents=True)
    (left / "old" / "mine").write_text("mine")
    done = place_artifact(store, a_tree(store, a="a"), target, known=None)
    assert done.kept == (target.with_name("out.kept-1"),)
    assert (target.with_name("out.kept-1") / "mine").read_text() == "mine"
    assert not left.exists()


def test_what_was_placed_is_known_without_a_manifest_until_it_is_changed(
    store: Store, target: Path
) -> None:
    tree = a_tree(store, a="a", b="b")
    place_artifact(store, tree, target, known=None)
    assert placed_tree(store, str(target)) == tree
    (target / "b").unlink()
    assert placed_tree(store, str(target)) == tree
    (target / "a").write_text("x")
    assert placed_tree(store, str(target)) is None


def test_what_was_only_seen_is_not_known_as_ours(store: Store, target: Path) -> None:
    tree = a_file(store, "text")
    target.parent.mkdir()
    target.write_text("text")
    assert lies_at(store, tree, str(target))
    assert placed_tree(store, str(target)) is None


def test_after_a_kill_before_the_manifest_the_new_artifact_is_known(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = a_file(store, "old"), a_file(store, "new")
    place_artifact(store, old, target, known=None)
    for moment in ("intend", "remember"):
        with monkeypatch.context() as patch:
            original = getattr(artifacts_module, moment)

            def killed(*arguments: object, call: Callable[..., None] = original, **more: object):
                call(*arguments, **more) if call.__name__ == "intend" else None
                raise Killed

            patch.setattr(artifacts_module, moment, killed)
            with pytest.raises(Killed):
                place_artifact(store, new, target, known=old)
        assert placed_tree(store, str(target)) == (old if moment == "intend" else new)


def test_builds_that_are_killed_one_after_the_other_leave_what_is_known(
    store: Store, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = [a_tree(store, a=text) for text in "abcd"]
    place_artifact(store, trees[0], target, known=None)
    for tree in trees[1:]:
        with monkeypatch.context() as patch:

            def killed() -> None:
                raise Killed

            in_between(patch, killed)
            with pytest.raises(Killed):
                place_artifact(store, tree, target, known=trees[0])
        assert placed_tree(store, str(target)) == trees[0]


def test_a_file_is_written_over_ours_only(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert replace_file(path, "1", is_ours=lambda old: False) == []
    assert replace_file(path, "2", is_ours=lambda old: old.read_text() == "1") == []
    (kept,) = replace_file(path, "3", is_ours=lambda old: False)
    assert (path.read_text(), kept.read_text()) == ("3", "2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.kept-1"]


def test_a_name_may_be_as_long_as_the_file_system_lets_it(store: Store, tmp_path: Path) -> None:
    target = tmp_path / ("é" * 127)
    for text, known in (("a", None), ("b", a_file(store, "a"))):
        place_artifact(store, a_file(store, text), target, known=known)
    assert target.read_text() == "b"
