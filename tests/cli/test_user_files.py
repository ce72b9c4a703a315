"""Commands that write a file replace none of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import BUILD, Project


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", ["SConstruct", "in.txt", "notes.yaml", "link"])
def test_a_depfile_replaces_only_a_depfile(copying: Project, name: str, fails: bool) -> None:
    copying.write("notes.yaml", "a: b\nc:\n  - d\n")
    (copying.folder / "link").symlink_to("in.txt")
    if fails:
        copying.write("in.txt", "fail")
    before = (copying.folder / name).read_text()
    ran = copying.phibuild("build", "--depfile", name)
    assert ran.status == 1
    assert f"{name} already exists and is not a depfile" in ran.text
    assert (copying.folder / name).read_text() == before
    assert not (copying.folder / "dist").exists()


def test_a_depfile_that_cannot_be_written_fails_the_build(copying: Project) -> None:
    copying.sconstruct(f"import shutil\nshutil.rmtree('gone', ignore_errors=True)\n{BUILD}")
    (copying.folder / "gone").mkdir()
    ran = copying.phibuild("build", "--depfile", "gone/out.d")
    assert (ran.status, ran.names("built")) == (2, ["dist/copy"])
    assert "the depfile cannot be written: " in ran.text
    ran = copying.scons(PHIBUILD_DEPFILE=str(copying.folder / "gone" / "out.d"))
    assert ran.status == 2, ran.text


def test_a_depfile_of_ours_and_an_empty_file_are_replaced(copying: Project) -> None:
    depfile = copying.write("out.d", "")
    for _ in range(2):
        assert copying.phibuild("build", "--depfile", "out.d").status == 0
        assert depfile.read_text().startswith("dist/copy: \\\n")
    copying.write("in.txt", "fail")
    assert copying.phibuild("build", "--depfile", "out.d").status == 2
    assert not depfile.exists()


def test_init_does_not_write_through_a_link(project: Project, tmp_path: Path) -> None:
    write_checkpoint(project.folder / "model", FAMILIES["phi-3"], layers=1)
    outside = tmp_path / "outside"
    (project.folder / "SConstruct").symlink_to(outside)
    assert "--force replaces it" in project.phibuild("init", "model").text
    assert not outside.exists()
    outside.write_text("mine")
    assert project.phibuild("init", "model", "--force").status == 0
    assert outside.read_text() == "mine"
    assert "PhiModel" in (project.folder / "SConstruct").read_text()


def test_init_says_when_a_folder_is_in_the_way(project: Project) -> None:
    write_checkpoint(project.folder / "model", FAMILIES["phi-3"], layers=1)
    (project.folder / "SConstruct").mkdir()
    ran = project.phibuild("init", "model", "--force")
    assert ran.status == 1
    assert "SConstruct cannot be written" in ran.text


def test_a_store_in_a_folder_of_the_users_is_refused(copying: Project, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    for arguments in ((), ("-c",), ("-n",)):
        ran = copying.scons(*arguments, PHIBUILD_STORE="~", HOME=str(home))
        assert ran.status == 2
        assert "[PHI302] the folder" in ran.text
        assert "Traceback" not in ran.text
    for command in (("doctor",), ("store", "stat"), ("toolchain", "list"), ("plan",)):
        ran = copying.phibuild(*command, PHIBUILD_STORE="~", HOME=str(home))
        assert ran.status != 0
        assert "is not a store and is not empty" in ran.text
        assert "Traceback" not in ran.text
    assert [path.name for path in home.iterdir()] == ["letter.txt"]
