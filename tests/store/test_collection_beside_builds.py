"""Collection runs beside builds, which do not notice it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phibuild.store import Store, place_artifact
from phibuild.store.collection import carry_out, plan_collection
from tests.store.collecting import LONG_AGO, a_plan, a_result, collect, unused


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


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
    while any(build.poll() is None for build in running):
        carry_out(store, plan_collection(store, keep=1))
        rounds += 1
    errors = [build.communicate()[1] for build in running]
    assert [build.returncode for build in running] == [0, 0, 0], errors
    assert rounds > 1
