"""Before an artifact takes its path, what is there is phibuild's own, or the build stops."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import BUILD, Project
from tests.disks import mount, mounted, tmpfs

FILE = """\
import phiworker
phiworker.run(lambda job: job.output.write_text(job.inputs["text"].read_text()))
"""
BUILD_FILE = 'a = env.Artifact("dist/copy", worker="file.py", inputs={"text": "in.txt"})\n'


@pytest.fixture
def single(copying: Project) -> Project:
    """The same with an artifact that is a file."""
    copying.write("file.py", FILE)
    copying.sconstruct(BUILD_FILE)
    return copying


def target_of(project: Project) -> Path:
    return project.folder / "dist" / "copy"


def snapshot(folder: Path) -> dict[str, object]:
    """Every path below a folder but SCons' own, with what it is."""
    return {
        str(path.relative_to(folder)): (
            str(path.readlink())
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else path.lstat().st_mode
        )
        for path in sorted(folder.rglob("*"))
        if path.name != ".sconsign.dblite"
    }


def refused(project: Project, *words: str, code: str = "PHI304") -> None:
    """A build changes nothing, and says why in one error."""
    before = snapshot(project.folder)
    ran = project.scons()
    assert ran.status == 2, ran.text
    assert f"[{code}]" in ran.text
    assert "hint: " in ran.text
    assert "Traceback" not in ran.text
    for word in words:
        assert word in ran.text
    assert snapshot(project.folder) == before


def a_folder(target: Path) -> None:
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "mine.txt").write_text("mine")
    (target / "copy.txt").write_text("mine")


def a_file(target: Path) -> None:
    target.parent.mkdir()
    target.write_text("mine")


def a_link(target: Path) -> None:
    a_folder(target.parent.parent / "elsewhere")
    target.parent.mkdir()
    target.symlink_to(target.parent.parent / "elsewhere")


def a_link_to_a_file(target: Path) -> None:
    target.parent.mkdir()
    other = target.parent.parent / "mine.txt"
    other.write_text("mine")
    target.symlink_to(other)


@pytest.mark.parametrize("spoil", [a_folder, a_file, a_link, a_link_to_a_file])
@pytest.mark.parametrize("kind", ["copying", "single"])
def test_what_was_there_first_is_not_touched(
    kind: str, spoil: Callable[[Path], None], request: pytest.FixtureRequest
) -> None:
    project: Project = request.getfixturevalue(kind)
    spoil(target_of(project))
    refused(project, str(target_of(project)))


def test_it_is_refused_before_any_work(copying: Project) -> None:
    a_folder(target_of(copying))
    ran = copying.scons()
    assert ran.actions == []
    assert "it holds copy.txt, sub (folder)" in ran.text


def test_the_result_itself_may_be_there_already(copying: Project, tmp_path: Path) -> None:
    copying.scons()
    inode = (target_of(copying) / "copy.txt").stat().st_ino
    (copying.folder / "dist" / "copy.phi.json").unlink()
    for path in (tmp_path / "store").glob("index.sqlite*"):
        path.unlink()
    assert copying.scons().names("recalled") == ["dist/copy"]
    assert (copying.folder / "dist" / "copy.phi.json").is_file()
    assert (target_of(copying) / "copy.txt").stat().st_ino == inode
    assert copying.scons().text == "scons: `.' is up to date.\n"


@pytest.mark.parametrize(
    "add",
    [
        lambda folder: (folder / "notes.txt").write_text("mine"),
        lambda folder: (folder / "sub" / "notes.txt").write_text("mine"),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder / "link").symlink_to("../../in.txt"),
        lambda folder: (folder / "[x] a\nb").write_text("mine"),
    ],
)
@pytest.mark.parametrize("edit", [True, False])
def test_what_the_user_adds_stops_the_build(
    copying: Project, add: Callable[[Path], object], edit: bool
) -> None:
    copying.scons()
    add(target_of(copying))
    if edit or (target_of(copying) / "empty").exists():
        copying.write("in.txt", "bye ")
    refused(copying, "dist/copy holds files that phibuild did not build: ")


def test_it_goes_on_when_the_file_is_moved(copying: Project) -> None:
    copying.scons()
    copying.write("in.txt", "bye ")
    notes = target_of(copying) / "notes.txt"
    notes.write_text("mine")
    refused(copying, "notes.txt")
    notes.rename(copying.folder / "notes.txt")
    assert copying.scons().names("built") == ["dist/copy"]


def test_a_changed_file_is_replaced_and_reported(copying: Project) -> None:
    copying.scons()
    (target_of(copying) / "copy.txt").write_text("mine")
    (target_of(copying) / "sub" / "more.txt").unlink()
    text = copying.scons().text
    assert "replaced dist/copy/copy.txt, which was changed after it was built\n" in text
    assert "more.txt, which" not in text
    copying.write("in.txt", "bye ")
    assert "which was changed" not in copying.scons().text


def test_a_changed_file_target_is_replaced_and_reported(single: Project) -> None:
    single.scons()
    target_of(single).write_text("mine")
    assert "replaced dist/copy, which was changed after it was built\n" in single.scons().text
    assert target_of(single).read_text() == "hello "


def test_an_artifact_that_became_a_link_is_the_users(single: Project) -> None:
    single.scons()
    target_of(single).rename(single.folder / "kept")
    target_of(single).symlink_to("../kept")
    refused(single, "is a link to ../kept")


def test_a_parent_may_be_a_link(copying: Project, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (copying.folder / "dist").symlink_to(tmp_path / "large")
    copying.scons()
    copying.write("in.txt", "bye ")
    assert copying.scons().names("built") == ["dist/copy"]
    assert (tmp_path / "large" / "copy" / "copy.txt").read_text() == "bye bye "


def test_a_file_may_become_a_folder_and_back(single: Project) -> None:
    single.scons()
    for build in (BUILD, BUILD_FILE):
        single.sconstruct(build)
        assert single.scons().status == 0
    assert target_of(single).is_file()


@pytest.mark.parametrize(
    "text", ['{"name": "mine"}', "notes", '{\n "manifest": "another tool"}', "{\n]", "\x00\xff"]
)
def test_a_file_of_the_users_with_the_manifests_name_stays(copying: Project, text: str) -> None:
    copying.write("dist/copy.phi.json", text)
    refused(copying, "copy.phi.json is not a manifest of phibuild")


def test_a_link_with_the_manifests_name_stays(copying: Project) -> None:
    copying.scons()
    manifest = copying.folder / "dist" / "copy.phi.json"
    manifest.rename(copying.folder / "kept.json")
    manifest.symlink_to("../kept.json")
    copying.write("in.txt", "bye ")
    refused(copying, "copy.phi.json is not a manifest of phibuild")


def test_a_folder_with_the_manifests_name_stays(copying: Project) -> None:
    copying.write("dist/copy.phi.json/mine.txt", "mine")
    refused(copying, "dist/copy.phi.json cannot be a file of this build: Directory", code="PHI205")


@pytest.mark.parametrize("length", [0, 1, 20, 60, 200])
def test_a_manifest_that_was_cut_off_is_written_again(copying: Project, length: int) -> None:
    copying.scons()
    manifest = copying.folder / "dist" / "copy.phi.json"
    whole = manifest.read_text()
    manifest.write_text(whole[:length])
    copying.write("in.txt", "bye ")
    assert copying.scons().names("built") == ["dist/copy"]
    assert json.loads(manifest.read_text())["artifact"] == "copy"


def test_a_manifest_of_another_artifact_names_nothing_here(copying: Project) -> None:
    copying.scons()
    (copying.folder / "dist").rename(copying.folder / "theirs")
    a_folder(target_of(copying))
    manifest = (copying.folder / "theirs" / "copy.phi.json").read_text()
    copying.write("dist/copy.phi.json", manifest.replace('"copy"', '"theirs"'))
    refused(copying, "is a folder that phibuild did not build")


def test_an_artifact_whose_manifest_is_gone_is_known_until_it_is_changed(
    copying: Project,
) -> None:
    copying.scons()
    manifest = copying.folder / "dist" / "copy.phi.json"
    manifest.unlink()
    copying.write("in.txt", "bye ")
    assert copying.scons().names("built") == ["dist/copy"]
    manifest.unlink()
    (target_of(copying) / "copy.txt").write_text("mine")
    copying.write("in.txt", "hello ")
    refused(copying, "dist/copy is a folder that phibuild did not build")


def test_a_parent_that_is_a_file_is_one_error(copying: Project) -> None:
    copying.write("dist", "mine")
    refused(copying, "dist/copy.phi.json cannot be a file of this build: File", code="PHI205")


def test_a_folder_that_cannot_be_written_to_is_one_error(copying: Project) -> None:
    copying.scons()
    dist = copying.folder / "dist"
    with mounted(dist, "--bind", dist):
        mount("-o", "remount,ro,bind", dist)
        copying.write("in.txt", "bye ")
        refused(copying, "cannot be written", code="PHI305")


@pytest.mark.parametrize("name", ["a b", "[x]", "a\nb", "ü", "-rf", "a'b", "x" * 240])
def test_odd_names_are_built_and_rebuilt(copying: Project, name: str) -> None:
    copying.sconstruct(BUILD.replace('"dist/copy"', repr(f"dist/{name}")))
    for text in ("hello ", "bye "):
        copying.write("in.txt", text)
        ran = copying.scons()
        assert ran.status == 0, ran.text
        assert (copying.folder / "dist" / name / "copy.txt").read_text() == text * 2
    names = {path.name for path in (copying.folder / "dist").iterdir()}
    assert names == {name, f"{name}.phi.json"}


def test_what_a_killed_build_left_is_cleared(copying: Project) -> None:
    copying.scons()
    left = copying.folder / "dist" / ".copy.abcd_123.phi-new"
    (left / "new" / "sub").mkdir(parents=True)
    (left / "new" / "copy.txt").write_text("half")
    (left / "new" / "sub" / "mine.txt").write_text("mine")
    journal = {"target": "copy", "files": ["copy.txt", "sub/more.txt"]}
    (left / "journal.json").write_text(json.dumps(journal))
    copying.write("in.txt", "bye ")
    text = copying.scons().text
    kept = copying.folder / "dist" / "copy.kept-1"
    assert f"kept {kept}: " in text
    assert snapshot(kept).keys() == {"sub", "sub/mine.txt"}
    assert not left.exists()


def test_artifacts_of_the_previous_version_need_no_work(copying: Project, tmp_path: Path) -> None:
    """Its artifacts are hard links to objects, and its index has no table of placements."""
    copying.scons()
    store = tmp_path / "store"
    for path in target_of(copying).rglob("*.txt"):
        same = [
            place
            for place in (store / "objects").rglob("*")
            if place.is_file() and place.read_bytes() == path.read_bytes()
        ]
        path.unlink()
        path.hardlink_to(same[0])
    for path in store.glob("index.sqlite*"):
        path.unlink()
    assert copying.scons().text == "scons: `.' is up to date.\n"
    copying.write("in.txt", "bye ")
    assert copying.scons().names("built") == ["dist/copy"]
    assert {path.stat().st_nlink for path in target_of(copying).rglob("*.txt")} == {1}


def test_an_edit_in_place_reaches_no_other_project(copying: Project, tmp_path: Path) -> None:
    copying.scons()
    other = Project(tmp_path / "other", copying.environment)
    shutil.copytree(copying.folder, other.folder, ignore=shutil.ignore_patterns("dist", ".scons*"))
    assert other.scons().names("recalled") == ["dist/copy"]
    time = (target_of(copying) / "copy.txt").stat().st_mtime_ns
    (target_of(other) / "copy.txt").chmod(0o666)
    (target_of(other) / "copy.txt").write_text("mine")
    assert copying.scons().text == "scons: `.' is up to date.\n"
    assert (target_of(copying) / "copy.txt").stat().st_mtime_ns == time
    assert (target_of(copying) / "copy.txt").read_text() == "hello hello "


def test_what_other_rules_compile_beside_the_sources_stays(project: Project) -> None:
    project.write("model.bin", "model")
    project.sconstruct('env.EmbeddedModel("build/phi", "model.bin", slot_size="1 MiB")\n')
    assert project.scons().status == 0
    project.write("build/phi/phi_model.o", "object")
    project.write("build/phi/deps/phi_model.d", "rule")
    project.write("model.bin", "another model")
    assert project.scons().names("built") == ["build/phi"]
    assert (project.folder / "build" / "phi" / "phi_model.o").read_text() == "object"
    assert (project.folder / "build" / "phi" / "deps" / "phi_model.d").read_text() == "rule"
    built = [path.read_bytes() for path in (project.folder / "build" / "phi").glob("*.*")]
    assert any(b"another model" in content for content in built)
    assert project.scons().text == "scons: `.' is up to date.\n"


def test_sources_are_not_put_into_a_folder_of_the_users(project: Project) -> None:
    project.write("model.bin", "model")
    project.write("build/phi/mine.c", "mine")
    project.sconstruct('env.EmbeddedModel("build/phi", "model.bin", slot_size="1 MiB")\n')
    refused(project, "it holds mine.c")


def test_a_full_disk_leaves_the_previous_artifact(copying: Project) -> None:
    with tmpfs(copying.folder / "dist", "400k"):
        assert copying.scons().status == 0
        copying.sconstruct(BUILD.replace("times=2", "times=100000"))
        refused(copying, code="PHI404")


def test_what_a_build_left_that_was_killed_at_its_very_end_is_cleared(copying: Project) -> None:
    """Artifact and manifest are in place, and SCons has not recorded it."""
    assert copying.scons().status == 0
    left = copying.folder / "dist" / ".copy.abcd_123.phi-new"
    left.mkdir()
    (left / "journal.json").write_text(json.dumps({"target": "copy", "files": []}), "ascii")
    (copying.folder / ".sconsign.dblite").unlink()
    assert copying.scons().names("recalled") == ["dist/copy"]
    assert not left.exists()
