"""Collection: what nothing needs goes, what is needed stays, and running builds notice nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phibuild.model.digest import Digest
from phibuild.model.facts import Fact
from phibuild.model.manifest import Manifest
from phibuild.store import ActionResult, ObjectRange, Store, place_artifact
from phibuild.store.collection import Plan, carry_out, collect_to_limit, plan_collection
from phibuild.store.settings import limit_of, pin, pins_of, set_limit, unpin
from phibuild.store.usage import counted, disk_usage
from tests.conftest import Project

LONG_AGO = time.time() - 100 * 86400
KILOBYTE = 1000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def a_result(store: Store, name: str, *, kilobytes: int = 1, inputs: tuple[Digest, ...] = ()):
    """A result of that name that was not used for long."""
    key = Digest.of(name.encode())
    with store.workspace() as folder:
        (folder / "made").write_bytes((name.encode() * KILOBYTE)[: KILOBYTE * kilobytes])
        with (folder / "made").open("ab") as stream:
            stream.write(os.urandom(KILOBYTE) * (kilobytes - 1))
        tree = store.put(folder / "made")
    named = tuple((str(number), one) for number, one in enumerate(inputs))
    facts = (Fact("weights", str(Digest.of(f"slice of {name}".encode()))),)
    result = ActionResult(key, name, facts, named, tree, 1.0, 1, "2026", "test")
    store.record(result)
    unused(store, key)
    return result


def unused(store: Store, key: Digest) -> None:
    os.utime(store.result_path(key), (LONG_AGO, LONG_AGO))


def a_plan(store: Store, *, keep: int | None = None) -> Plan:
    """Everything that was not used in the last days goes. This process uses nothing any more."""
    store.lease.release()
    return plan_collection(store, keep=keep, since=0.0 if keep else time.time() - 86400)


def collect(store: Store, *, keep: int | None = None) -> int:
    return carry_out(store, a_plan(store, keep=keep)).bytes


def objects(store: Store) -> set[str]:
    return {path.name for path in (store.root / "objects").rglob("*") if path.is_file()}


def place(store: Store, result: ActionResult, target: Path) -> None:
    place_artifact(store, result.tree, target, known=None)
    manifest = Manifest(target.name, "test", result.key, 0, result.tree)
    Path(f"{target}.phi.json").write_text(manifest.to_text())


def test_what_was_not_used_goes_with_its_objects(store: Store) -> None:
    old, new = a_result(store, "old", kilobytes=100), a_result(store, "new")
    os.utime(store.result_path(new.key))
    assert collect(store) >= 100 * KILOBYTE
    assert store.recall(old.key) is None
    assert store.recall(new.key) == new
    assert not store.has(old.tree)
    assert store.has(new.tree)


def test_a_plan_changes_nothing_and_says_what_would_be_freed(store: Store) -> None:
    result = a_result(store, "old", kilobytes=100)
    store.lease.release()
    before = counted(disk_usage(store.root))
    plan = a_plan(store)
    assert list(plan.results) == [result.key.hex]
    assert plan.left == before - plan.freed
    assert store.has(result.tree)
    store.lease.release()
    freed = carry_out(store, plan).bytes
    assert abs(freed - plan.freed) <= 64 * KILOBYTE  # what the index and locks took


def test_recalling_is_use(store: Store) -> None:
    result = a_result(store, "old")
    store.recall(result.key)
    collect(store)
    assert store.recall(result.key) == result


def test_an_artifact_in_place_keeps_its_result_and_those_that_this_was_made_of(
    store: Store, tmp_path: Path
) -> None:
    first = a_result(store, "first")
    second = a_result(store, "second", inputs=(first.key,))
    place(store, second, tmp_path / "out")
    collect(store)
    assert store.recall(first.key) == first
    assert store.recall(second.key) == second
    Path(tmp_path / "out.phi.json").unlink()
    collect(store)
    unused(store, first.key), unused(store, second.key)
    collect(store)
    assert store.recall(second.key) is None


def test_a_pinned_result_stays_whatever_the_size(store: Store) -> None:
    result = a_result(store, "old", kilobytes=100)
    pin(store.root, result.key, "old")
    assert pins_of(store.root) == {result.key: "old"}
    collect(store, keep=1)
    assert store.recall(result.key) == result
    assert unpin(store.root, result.key)
    assert not unpin(store.root, result.key)
    unused(store, result.key)
    collect(store)
    assert store.recall(result.key) is None


def test_a_toolchain_that_is_installed_keeps_its_result(store: Store) -> None:
    result = a_result(store, "tool")
    store.install(result.tree, store.root / "toolchains" / f"tool-{result.key.hex[:12]}")
    collect(store)
    assert store.recall(result.key) == result


def test_keep_removes_no_more_than_it_has_to(store: Store) -> None:
    results = [a_result(store, f"{number}", kilobytes=200) for number in range(5)]
    for age, result in enumerate(results):
        os.utime(store.result_path(result.key), (LONG_AGO + age, LONG_AGO + age))
    size = counted(disk_usage(store.root)) - 300 * KILOBYTE
    collect(store, keep=size)
    assert [store.has(result.tree) for result in results] == [False, False, True, True, True]
    assert counted(disk_usage(store.root)) <= size


def test_an_object_of_no_result_goes(store: Store) -> None:
    with store.workspace() as folder:
        (folder / "made").write_text("made")
        tree = store.put(folder / "made")
    assert store.has(tree)
    collect(store)
    assert objects(store) == set()


def test_what_this_process_uses_stays(store: Store) -> None:
    """As a build may have recalled a result long before it places its files."""
    result = a_result(store, "old")
    plan = a_plan(store)
    assert store.has(result.tree)
    carry_out(store, plan)
    assert store.has(result.tree)
    place_artifact(store, result.tree, store.root.parent / "out", known=None)
    assert store.recall(result.key) == result


def test_what_another_process_put_and_recorded_after_the_plan_stays(store: Store) -> None:
    a_result(store, "old")
    plan = a_plan(store)
    new = a_result(store, "new")
    store.lease.release()
    again = plan._replace(objects=(*plan.objects, new.tree.entries[0].digest.hex))
    other = Store(store.root)
    assert other.has(new.tree)
    carry_out(store, again)
    assert other.has(new.tree)
    other.lease.release()


def test_a_result_that_was_used_after_the_plan_stays(store: Store) -> None:
    result = a_result(store, "old")
    plan = a_plan(store)
    store.recall(result.key)
    carry_out(store, plan)
    assert store.recall(result.key) == result


def test_a_lease_ends_with_its_process(store: Store) -> None:
    result = a_result(store, "old")
    program = (
        "import os, sys; from pathlib import Path; from phibuild.store import Store;"
        "from phibuild.model.digest import Digest;"
        "store = Store(Path(sys.argv[1]));"
        "print(store.has(store.recall(Digest(sys.argv[2])).tree), flush=True);"
        "sys.stdin.readline(); os._exit(9)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(store.root), result.key.hex],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    unused(store, result.key)
    collect(store)
    assert store.has(result.tree)
    store.lease.release()
    child.communicate("\n")
    for path in (store.root / "leases").iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    collect(store)
    assert not store.has(result.tree)
    store.lease.release()
    assert list((store.root / "leases").iterdir()) == []


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


def test_a_store_is_kept_to_its_limit(store: Store) -> None:
    assert limit_of(store.root) is None
    for number in range(5):
        a_result(store, f"{number}", kilobytes=200)
    set_limit(store.root, 2_000 * KILOBYTE)
    assert collect_to_limit(store) is None
    set_limit(store.root, 700 * KILOBYTE)
    freed = collect_to_limit(store)
    assert freed is not None
    assert freed.bytes > 300 * KILOBYTE
    assert counted(disk_usage(store.root)) <= 700 * KILOBYTE
    set_limit(store.root, None)
    assert limit_of(store.root) is None


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


BUSY = """\
import sys
from pathlib import Path
from phibuild.model.digest import Digest
from phibuild.store import ActionResult, Store, place_artifact

store = Store(Path(sys.argv[1]))
out = Path(sys.argv[2])
for round in range(int(sys.argv[3])):
    name = str(round % 7)
    key = Digest.of(name.encode())
    result = store.recall(key)
    if result is None or not store.has(result.tree):
        with store.workspace() as folder:
            (folder / "made").write_text(name * 5000)
            tree = store.put(folder / "made")
        store.record(ActionResult(key, name, (), (), tree, 1.0, 1, "2026", "test"))
    else:
        tree = result.tree
    target = out / str(round)
    place_artifact(store, tree, target, known=None)
    assert target.read_text() == name * 5000
    store.lease.release()
"""


def test_builds_beside_collections_never_fail(store: Store, tmp_path: Path) -> None:
    """Everything is collected all the time: what a build has found there it can also use."""
    (tmp_path / "out").mkdir()
    running = []
    for number in range(3):
        (tmp_path / "out" / str(number)).mkdir()
        command = [sys.executable, "-c", BUSY, store.root, tmp_path / "out" / str(number), "150"]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    rounds = 0
    while any(one.poll() is None for one in running):
        carry_out(store, plan_collection(store, keep=1))
        rounds += 1
    errors = [one.communicate()[1] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], errors
    assert rounds > 1


# The commands


def test_a_build_that_makes_the_store_too_large_collects(copying: Project) -> None:
    assert copying.phibuild("store", "limit").text == "no limit\n"
    assert copying.phibuild("store", "limit", "1500kB").text == "at most 1.5 MB\n"
    collected = 0
    for number in range(6):
        copying.write("in.txt", f"{number}" * 400_000)
        ran = copying.scons()
        assert ran.status == 0, ran.text
        collected += "The store was larger than its limit" in ran.text
        taken = counted(disk_usage(Path(copying.environment["PHIBUILD_STORE"])))
        assert taken <= 1_500_000, ran.text
    assert collected >= 2
    assert copying.phibuild("store", "limit", "none").text == "no limit\n"
    assert "is not a size" in copying.phibuild("store", "limit", "much").text


def test_collect_says_what_would_go_and_removes_it(copying: Project) -> None:
    copying.scons()
    copying.write("in.txt", "other ")
    copying.scons()
    before = copying.phibuild("store", "stat").text
    assert "results     2 action results" in before
    planned = copying.phibuild("store", "collect", "--dry-run", "--unused", "0")
    assert "twice, 20" in planned.text
    assert "1 results, 1 objects and" in planned.text, planned.text
    ran = copying.phibuild("store", "collect", "--unused", "0")
    assert ran.text.startswith("freed "), ran.text
    assert "results     1 action results" in copying.phibuild("store", "stat").text
    assert copying.scons().text == "scons: `.' is up to date.\n"
    copying.write("in.txt", "hello ")
    assert copying.scons().names("built") == ["dist/copy"]


def test_an_artifact_can_be_pinned(copying: Project) -> None:
    copying.scons()
    assert copying.phibuild("store", "pin", "dist/copy").status == 0
    assert str(copying.folder / "dist/copy") in copying.phibuild("store", "pin").text
    copying.write("in.txt", "other ")
    copying.scons()
    copying.phibuild("store", "collect", "--keep", "1")
    copying.write("in.txt", "hello ")
    assert copying.scons().names("recalled") == ["dist/copy"]
    assert copying.phibuild("store", "unpin", "dist/copy").status == 0
    refused = copying.phibuild("store", "unpin", "dist/copy")
    assert (refused.status, "[PHI306]" in refused.text) == (2, True)
    assert "[PHI306]" in copying.phibuild("store", "pin", "nothing").text
