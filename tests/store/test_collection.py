"""Collection removes unused results and objects, and keeps what is used, pinned or in place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phibuild.store import Store
from phibuild.store.collection import carry_out
from phibuild.store.settings import pin, pins_of, unpin
from phibuild.store.usage import counted, disk_usage
from tests.store.collecting import (
    KILOBYTE,
    LONG_AGO,
    a_plan,
    a_result,
    collect,
    objects,
    place,
    unused,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


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
