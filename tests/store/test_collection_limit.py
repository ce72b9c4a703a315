"""A limit, and the commands that collect and pin."""

from __future__ import annotations

from pathlib import Path

import pytest

from phibuild.store import Store
from phibuild.store.collection import collect_to_limit
from phibuild.store.settings import limit_of, set_limit
from phibuild.store.usage import counted, counted_usage, disk_usage
from tests.conftest import Project
from tests.store.collecting import KILOBYTE, a_result


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


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


def test_a_build_that_makes_the_store_too_large_collects(copying: Project) -> None:
    assert copying.phibuild("store", "limit").text == "no limit\n"
    assert copying.phibuild("store", "limit", "1500kB").text == "at most 1.5 MB\n"
    collected = 0
    for number in range(6):
        copying.write("in.txt", f"{number}" * 400_000)
        ran = copying.scons()
        assert ran.status == 0, ran.text
        collected += "The store was larger than its limit" in ran.text
        used = counted(disk_usage(Path(copying.environment["PHIBUILD_STORE"])))
        assert used <= 1_500_000, ran.text
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


def test_a_limit_counts_what_the_whole_measurement_does_but_toolchains(tmp_path: Path) -> None:
    for name in ("objects/one", "uv/two", "bytecode/three", "work/four"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(bytes(300 * KILOBYTE))
    (tmp_path / "uv" / "same").hardlink_to(tmp_path / "work" / "four")  # counts for work
    usage = disk_usage(tmp_path)
    assert counted_usage(tmp_path) == counted(usage)
    assert usage["work"] >= 300 * KILOBYTE
    assert counted_usage(tmp_path) < sum(usage.values())
