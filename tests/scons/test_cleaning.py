"""`scons -c` removes what a manifest names, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BUILD, Project
from tests.snapshots import snapshot

FILE = 'f = env.FirmwareImage("dist/model.img", "in.txt")\n'


def manifest_of(project: Project, name: str = "dist/copy") -> Path:
    return project.folder / f"{name}.phi.json"


def test_a_file_that_the_user_added_stays_and_is_named(copying: Project) -> None:
    copying.scons()
    for name in ("notes.txt", "sub/more notes.txt", "new/x.txt"):
        copying.write(f"dist/copy/{name}", "mine")
    (copying.folder / "dist/copy/empty").mkdir()
    before = snapshot(copying.folder)
    dry = copying.scons("-c", "-n")
    assert "Kept" not in dry.text
    assert snapshot(copying.folder) == before
    ran = copying.scons("-c")
    assert ran.status == 0
    for name in ("notes.txt", "sub/more notes.txt", "new/x.txt", "empty"):
        path = copying.folder / "dist" / "copy" / name
        assert f"Kept {path}: phibuild did not build it" in ran.text
        assert path.exists()
    assert not (copying.folder / "dist/copy/copy.txt").exists()
    assert not manifest_of(copying).exists()
    assert "Kept" not in copying.scons("-c").text


def test_an_intact_artifact_leaves_no_folder(copying: Project) -> None:
    copying.sconstruct(BUILD + FILE)
    copying.scons()
    ran = copying.scons("-c")
    assert "Kept" not in ran.text
    assert list((copying.folder / "dist").iterdir()) == []


def test_one_target_is_cleaned_and_not_the_other(copying: Project) -> None:
    copying.sconstruct(BUILD + FILE)
    copying.scons()
    copying.write("dist/copy/notes.txt", "mine")
    ran = copying.scons("-c", "dist/model.img")
    assert "Kept" not in ran.text
    left = {path.name for path in (copying.folder / "dist").iterdir()}
    assert left == {"copy", "copy.phi.json"}
    assert (copying.folder / "dist/copy/copy.txt").exists()


def without_manifest(project: Project) -> None:
    manifest_of(project).unlink()


def anothers_manifest(project: Project) -> None:
    document = json.loads(manifest_of(project).read_text())
    manifest_of(project).write_text(json.dumps(document | {"artifact": "other"}))


def no_manifest_at_all(project: Project) -> None:
    manifest_of(project).write_text("my own notes")


def a_manifest_that_leaves_the_artifact(project: Project) -> None:
    document = json.loads(manifest_of(project).read_text())
    document["files"][0]["path"] = "../../in.txt"
    manifest_of(project).write_text(json.dumps(document))


def a_folder_in_place_of_the_manifest(project: Project) -> None:
    manifest_of(project).unlink()
    project.write("dist/copy.phi.json/mine.txt", "mine")


def a_link_in_place_of_the_artifact(project: Project) -> None:
    (project.folder / "dist/copy").rename(project.folder / "elsewhere")
    (project.folder / "dist/copy").symlink_to("../elsewhere")


def a_link_in_place_of_the_manifest(project: Project) -> None:
    manifest_of(project).rename(project.folder / "elsewhere")
    manifest_of(project).symlink_to("../elsewhere")


@pytest.mark.parametrize(
    "spoil",
    [
        without_manifest,
        anothers_manifest,
        no_manifest_at_all,
        a_manifest_that_leaves_the_artifact,
        a_folder_in_place_of_the_manifest,
        a_link_in_place_of_the_artifact,
        a_link_in_place_of_the_manifest,
    ],
)
def test_without_a_manifest_of_this_artifact_nothing_is_removed(
    copying: Project, spoil: Callable[[Project], None]
) -> None:
    copying.scons()
    spoil(copying)
    before = snapshot(copying.folder, without=(copying.folder / ".sconsign.dblite",))
    copying.scons("-c")
    after = snapshot(copying.folder, without=(copying.folder / ".sconsign.dblite",))
    assert after == before


def test_a_link_or_a_folder_in_place_of_a_file_stays(copying: Project) -> None:
    copying.scons()
    outside = copying.write("outside/more.txt", "mine")
    for path in (copying.folder / "dist/copy/sub").iterdir():
        path.unlink()
    (copying.folder / "dist/copy/sub").rmdir()
    (copying.folder / "dist/copy/sub").symlink_to("../../outside")
    (copying.folder / "dist/copy/copy.txt").unlink()
    copying.write("dist/copy/copy.txt/mine.txt", "mine")
    ran = copying.scons("-c")
    assert outside.read_text() == "mine"
    assert (copying.folder / "dist/copy/copy.txt/mine.txt").read_text() == "mine"
    assert "dist/copy/sub: phibuild did not build it" in ran.text


def test_odd_names_are_cleaned(copying: Project) -> None:
    worker = (copying.folder / "twice.py").read_text()
    copying.write("twice.py", worker.replace('"copy.txt"', '"#a $b [x]\\n~.txt"'))
    copying.sconstruct(BUILD.replace("dist/copy", "dist/odd [x] na me"))
    assert copying.scons().status == 0
    copying.scons("-c")
    assert list((copying.folder / "dist").iterdir()) == []


def test_objects_compiled_in_place_are_cleaned_by_scons(copying: Project) -> None:
    copying.sconstruct(
        'd = env.DeviceSources("build/device", env.FirmwareImage("build/m.img", "in.txt"))\n'
        'env.Command("build/device/phi_model.o", "build/device/phi_model.c",'
        ' "cp $SOURCE $TARGET")\n'
    )
    ran = copying.scons()
    assert ran.status == 0, ran.text
    assert (copying.folder / "build/device/phi_model.o").exists()
    shown = copying.phibuild("show", "build/device").text
    assert "unchanged by size and time" in shown
    assert "in its folder, but not part of it: phi_model.o" in shown
    ran = copying.scons("-c", "build/device")
    assert "Kept" in ran.text
    assert (copying.folder / "build/device/phi_model.o").exists()
    assert copying.scons().status == 0
    copying.scons("-c")
    assert [path for path in (copying.folder / "build").rglob("*") if path.is_file()] == []


def test_a_users_file_where_an_artifact_would_be_stays(copying: Project) -> None:
    copying.write("dist/copy/copy.txt", "mine")
    copying.write("dist/model.img", "mine")
    copying.sconstruct(BUILD + FILE)
    before = snapshot(copying.folder)
    assert copying.scons("-c").status == 0
    assert snapshot(copying.folder, without=(copying.folder / ".sconsign.dblite",)) == before
