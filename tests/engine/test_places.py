"""Two spellings of one place are equal; two places that look alike are not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from phibuild.engine.territory import places
from phibuild.engine.territory.places import Folding, Places
from phibuild.engine.territory.territory import Territory
from phibuild.model.errors import RecipeError
from tests.disks import mounted
from tests.firmware.tools import needed_tool


def is_same(path: str | Path, other: str | Path, known: Places | None = None) -> bool:
    """Whether two paths lead to the same place."""
    known = known or Places()
    ends = [known.of(str(end))[-1] for end in (path, other)]
    return not set(ends[0].keys).isdisjoint(ends[1].keys)


def test_links_and_dots_lead_to_one_place(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "far").symlink_to(tmp_path / "link" / "deep")
    assert is_same(tmp_path / "link", tmp_path / "real")
    assert is_same(tmp_path / "link" / "new", tmp_path / "real" / "new")
    assert is_same(f"{tmp_path}/link/../real/./deep", tmp_path / "far")
    assert is_same(f"{tmp_path}/far/../new/x", tmp_path / "real" / "new" / "x")
    assert not is_same(tmp_path / "link", tmp_path / "real" / "deep")


def test_a_dangling_link_and_a_loop_are_places(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("not/there")
    (tmp_path / "loop").symlink_to("loop")
    assert is_same(tmp_path / "dangling", tmp_path / "not" / "there")
    assert is_same(tmp_path / "dangling" / "x", tmp_path / "not" / "there" / "x")
    assert is_same(tmp_path / "loop", tmp_path / "loop")
    assert not is_same(tmp_path / "loop", tmp_path / "dangling")


def test_a_folder_that_is_made_in_between_is_the_same_place(tmp_path: Path) -> None:
    known = Places()
    (before,) = known.of(str(tmp_path / "new"))
    (tmp_path / "new").mkdir()
    (after,) = known.of(str(tmp_path / "new"))
    assert not set(before.keys).isdisjoint(after.keys)


def test_hard_links_are_places_of_their_own(tmp_path: Path) -> None:
    """Equal artifacts are links of one object of the store."""
    (tmp_path / "a").write_text("")
    os.link(tmp_path / "a", tmp_path / "b")
    os.link(tmp_path / "a", tmp_path / "A")
    assert not is_same(tmp_path / "a", tmp_path / "b")
    assert not is_same(tmp_path / "a", tmp_path / "A")


def test_letter_case_counts_where_the_folder_distinguishes_names(tmp_path: Path) -> None:
    (tmp_path / "entry").mkdir()
    assert not is_same(tmp_path / "dist", tmp_path / "Dist")
    assert not is_same(tmp_path / "e\u0301", tmp_path / "\u00e9")


@pytest.mark.parametrize(
    ("folding", "name", "other", "are_same"),
    [
        (Folding(case=True, forms=True), "Dist/A", "dist/a", True),
        (Folding(case=True, forms=True), "stra\u00dfe", "STRASSE", True),
        (Folding(case=True, forms=True), "\u00c9", "e\u0301", True),
        (Folding(case=False, forms=True), "\u00e9/x", "e\u0301/x", True),
        (Folding(case=False, forms=True), "\u00c9", "\u00e9", False),
        (Folding(case=False, forms=False), "\u00e9", "e\u0301", False),
    ],
)
def test_what_does_not_exist_is_folded_as_its_folder_folds_names(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    folding: Folding,
    name: str,
    other: str,
    are_same: bool,
) -> None:
    monkeypatch.setattr(places, "_probed", lambda folder: folding)
    assert is_same(tmp_path / name, tmp_path / other) is are_same


@pytest.fixture
def folded(tmp_path: Path) -> Iterator[Path]:
    """A folder of a file system that ignores letter case, if one can be mounted here."""
    known = Path("/proc/filesystems")
    if not known.is_file() or "vfat" not in known.read_text():
        pytest.skip("this kernel does not know vfat")
    disk, folder = tmp_path / "disk", tmp_path / "folded"
    subprocess.run([needed_tool("mkfs.vfat"), "-C", disk, "8192"], check=True, capture_output=True)
    folder.mkdir()
    with mounted(folder, "-o", "loop", disk):
        yield folder


def test_a_real_file_system_that_ignores_case(folded: Path) -> None:
    (folded / "Models").mkdir()
    assert is_same(folded / "models" / "x", folded / "MODELS" / "X")
    territory = Territory()
    territory.use(str(folded / "Models"), "the model")
    with pytest.raises(RecipeError, match="the target t lies in the model"):
        territory.claim(str(folded / "mOdEls" / "out"), "t")


def test_an_entry_under_another_case_shows_that_a_folder_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Entry").mkdir()
    real = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: real(path.replace("eNTRY", "Entry")))
    assert places._probed(str(tmp_path)) == Folding(case=True, forms=places._USUAL.forms)
    monkeypatch.undo()
    assert places._probed(str(tmp_path)) == Folding(case=False, forms=places._USUAL.forms)


def test_a_thousand_targets_cost_a_thousand_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    territory = Territory()
    (tmp_path / "dist").mkdir()
    looks = 0
    real = os.lstat

    def counted(path: str) -> os.stat_result:
        nonlocal looks
        looks += 1
        return real(path)

    monkeypatch.setattr(os, "lstat", counted)
    for number in range(1000):
        territory.use(str(tmp_path / "model"), "the model")
        territory.claim(str(tmp_path / "dist" / str(number)), str(number))
    assert looks < 2100
