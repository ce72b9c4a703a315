"""`store verify` and `show --verify` read everything again, and find what a build does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.store import ObjectRange, Store
from tests.conftest import Project
from tests.store.collecting import a_result


def change_under_kept_time(path: Path) -> None:
    before = path.stat()
    path.chmod(0o644)
    content = path.read_bytes()
    with path.open("r+b") as stream:
        stream.write(content[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def objects(project: Project) -> list[Path]:
    root = Path(project.environment["PHIBUILD_STORE"])
    return [path for path in (root / "objects").rglob("*") if path.is_file()]


def test_a_store_that_is_whole_is_so(copying: Project) -> None:
    copying.scons()
    ran = copying.phibuild("store", "verify")
    assert (ran.status, "everything is intact" in ran.text) == (0, True), ran.text


@pytest.mark.parametrize(
    "damage",
    [
        change_under_kept_time,
        lambda path: path.unlink(),
        lambda path: path.rename(path.with_name("other")),
    ],
)
def test_a_damaged_object_is_found_and_the_next_build_makes_it_anew(
    copying: Project, damage: Callable[[Path], object]
) -> None:
    copying.scons()
    damage(max(objects(copying), key=lambda path: path.stat().st_size))
    ran = copying.phibuild("store", "verify")
    assert ran.status == 1, ran.text
    assert "--repair removes damaged files" in ran.text
    assert copying.phibuild("store", "verify", "--repair").status == 0
    assert copying.phibuild("store", "verify").status == 0
    (copying.folder / "dist" / "copy" / "copy.txt").unlink()
    ran = copying.scons()
    assert ran.names("built") == ["dist/copy"], ran.text
    assert (copying.folder / "dist" / "copy" / "copy.txt").read_text() == "hello hello "


def test_a_result_under_another_key_is_found(copying: Project) -> None:
    copying.scons()
    (result,) = (Path(copying.environment["PHIBUILD_STORE"]) / "results").iterdir()
    result.rename(result.with_name("0" * 64))
    assert "0" * 64 in copying.phibuild("store", "verify").text


def test_a_wrong_piece_is_found_and_forgotten(tmp_path: Path) -> None:
    from phibuild.store.verification import repair, verify

    store = Store(tmp_path / "store")
    (entry,) = a_result(store, "made").tree.entries
    store.record_pieces(
        entry, {"wrong": ObjectRange(0, 4, "0" * 64), "beyond": ObjectRange(10**6, 4, "0")}
    )
    (fault,) = verify(store)
    assert sorted(fault.pieces) == ["beyond", "wrong"]
    repair(store, [fault])
    assert verify(store) == []
    assert store.recall_piece("wrong") is None


def test_show_reads_an_artifact_on_request(copying: Project) -> None:
    copying.scons()
    assert "unchanged by size and time, not read" in copying.phibuild("show", "dist/copy").text
    assert "intact, every byte" in copying.phibuild("show", "--verify", "dist/copy").text
    (copying.folder / "dist/copy/copy.txt").write_text("hullo hello ")
    assert "CHANGED since it was built" in copying.phibuild("show", "dist/copy").text
