"""Whatever an SConstruct names as targets: builds, dry runs and cleaning change nothing but what
phibuild built. Each case runs in a scratch home, which is compared before and after."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import HEADER, WORKER, Project
from tests.snapshots import Snapshot, snapshot

pytestmark = pytest.mark.toolchain  # it takes its time

RUNS = ((), ("-n",), ("-c",), ("-k", "-j2"), ("-c", "-n"), ("-c", "."))
PHI = 'phi = env.PhiModel("models/m")\n'


def copy(target: str, text: str = "in.txt") -> str:
    inputs = f'inputs={{"text": {text!r}}}'
    return f'env.Artifact({target!r}, worker="twice.py", {inputs}, times=2)\n'


@pytest.fixture
def home(tmp_path: Path) -> Project:
    """A project in a home, among what a user may have there."""
    home = tmp_path / "home"
    project = Project(
        home / "project",
        {"HOME": str(home), "PHIBUILD_STORE": str(tmp_path / "store"), "XDG_CACHE_HOME": ""},
    )
    write_checkpoint(project.folder / "models" / "m", FAMILIES["phi-3"], layers=1)
    write_checkpoint(home / "hub" / "snapshots" / "1", FAMILIES["phi-3"], layers=1)
    (home / "hub" / "blobs").mkdir()
    weights = home / "hub" / "snapshots" / "1" / "model.safetensors"
    weights.rename(home / "hub" / "blobs" / "abc")
    weights.symlink_to("../../blobs/abc")
    project.write("twice.py", WORKER)
    for name in (
        "in.txt",
        "other.txt",
        "data/a.txt",
        "data/deep/b.txt",
        "dist/notes.txt",
        "dist/mine/notes.txt",
        "dist/mine/copy.txt",
        "dist/file",
        "dist/x.gguf",
        "src/main.c",
        "../letters/dear.txt",
        "../.config/settings",
    ):
        project.write(name, f"{name} of the user\n").chmod(0o640)
    project.write("src/tool.sh", "#!/bin/sh\n").chmod(0o755)
    project.write("sub/SConscript", HEADER)
    project.write("mine.phi.json", '{"manifest": "the user\'s own"}')
    (project.folder / "dist" / "empty").mkdir()
    (project.folder / "latest").symlink_to("models/m")
    (project.folder / "above").symlink_to("..")
    (project.folder / "out").symlink_to("dist")
    (project.folder / "dangling").symlink_to("not/there")
    (project.folder / "letters").symlink_to("../letters")
    (project.folder / "linked.txt").symlink_to("in.txt")
    os.link(project.folder / "in.txt", project.folder / "hard.txt")
    return project


def state(project: Project, artifacts: tuple[str, ...]) -> Snapshot:
    """All of the home, but artifacts and what SCons keeps."""
    own = {project.folder / ".sconsign.dblite"}
    for name in artifacts:
        own |= {project.folder / name, project.folder / f"{name}.phi.json"}
    return snapshot(project.folder.parent, without=tuple(own))


def assert_untouched(project: Project, sconstruct: str, artifacts: tuple[str, ...] = ()) -> None:
    """No run changes anything but these artifacts."""
    project.sconstruct(sconstruct)
    before = state(project, artifacts)
    for arguments in RUNS:
        ran = project.scons(*arguments)
        assert "Traceback" not in ran.text, ran.text
        assert state(project, artifacts) == before, (arguments, ran.text)
    ran = project.phibuild("plan")
    assert state(project, artifacts) == before, ran.text


HOSTILE = (
    *("models/m", "models", "models/m/out", "models/m/config.json", "models/m/new/out"),
    *(".", "..", "/", "//", "~", "~/letters", "#", "#/", "./", "../", "dist/..", "sub/../..", ""),
    *("{home}", "{home}/project", "{home}/..", "../project", "../../home", "{home}/project/"),
    *("SConstruct", "twice.py", "in.txt", "data", "linked.txt", "hard.txt"),
    *("latest", "latest/out", "above", "above/project", "above/project/models", "letters"),
    *("letters/dear.txt", "out", "out/mine", "dangling", "../letters", "../.config"),
    *("dist", "dist/mine", "dist/file", "dist/empty", "dist/x.gguf", "src", "sub", "mine"),
    *("{store}", "{store}/objects", "{store}/new", "in.txt/out", "dist/file/out"),
    *("{home}/hub", "{home}/hub/blobs", "{home}/hub/blobs/abc", "{home}/hub/snapshots/1"),
)
FREE = frozenset({"dist/empty"})
"""Where nothing is that could be lost: an empty folder is replaced."""


@pytest.mark.parametrize("target", HOSTILE)
def test_a_target_in_the_way_of_the_users_files_changes_none_of_them(
    home: Project, target: str
) -> None:
    name = target.format(home=home.folder.parent, store=home.environment["PHIBUILD_STORE"])
    uses = PHI + 'env.PhiModel("../hub/snapshots/1")\n' + copy("dist/good", "data/a.txt")
    lines = uses + copy(name, "data/deep/b.txt") + 'SConscript("sub/SConscript")\n'
    assert_untouched(home, lines, ("dist/good", *(FREE & {target})))


@pytest.mark.parametrize("target", ["models/m", "models", "data", "in.txt", "dist", ".", "{home}"])
@pytest.mark.parametrize("use", [PHI, copy("dist/a", "data/deep/b.txt"), ""])
def test_the_order_does_not_matter(home: Project, target: str, use: str) -> None:
    lines = copy(target.format(home=home.folder.parent)) + use
    assert_untouched(home, lines, ("dist/a",))


@pytest.mark.parametrize(
    "lines",
    [
        copy("dist") + copy("dist/x"),
        copy("dist/x") + copy("dist"),
        copy("dist/a") + copy("out/a"),
        copy("dist/a") + copy("dist/a.phi.json"),
        copy("dist/a.phi.json") + copy("dist/a"),
        copy("dist/a") + copy("dist/a/b/c"),
        copy("mine"),
        'env.MLX("models/m", env.PhiModel("latest"))\n',
        'env.MLX("dist/mine", env.PhiModel("models/m"))\n',
        'env.GGUF("dist/x.gguf", env.PhiModel("models/m"), quant="Q4_0", imatrix="dist/x.gguf")\n',
        'env.FirmwareImage("dist/file", "models/m")\n',
        'env.EmbeddedModel("dist/mine", "in.txt", slot_size="1 MiB")\n',
        'env.DeviceSources("src", "in.txt")\n',
        'env.Command("dist/r/x", "in.txt", "cp $SOURCE $TARGET")\n' + copy("dist/r"),
        copy("dist/mine", "dist/mine"),
        copy("dist/a", "dist"),
    ],
)
def test_targets_among_each_other(home: Project, lines: str) -> None:
    before = state(home, ("SConstruct",))
    assert_untouched(home, lines, ("dist/a", "dist/x"))
    assert state(home, ("SConstruct", "dist/a", "dist/x")) == before


def a_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def a_folder(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "notes.txt").write_text("mine")


def a_link(folder: Path) -> None:
    (folder / "link").symlink_to("../../data")


@pytest.mark.parametrize("add", [a_file, a_folder, a_link])
@pytest.mark.parametrize("then", ["", "changed"])
def test_what_a_user_adds_to_an_artifact_stays(
    home: Project, add: Callable[[Path], None], then: str
) -> None:
    (home.folder / "hard.txt").unlink()
    home.sconstruct(copy("dist/good"))
    assert home.scons().status == 0
    folder = home.folder / "dist" / "good"
    before = snapshot(folder)
    add(folder)
    added = {name: file for name, file in snapshot(folder).items() if name not in before}
    around = state(home, ("dist/good", "in.txt"))
    for arguments in (("-n",), (), ("-c", "-n"), ("-c",), (), ("-c",)):
        if then:
            home.write("in.txt", f"{then} {arguments}")
        home.scons(*arguments)
        after = snapshot(folder)
        assert {name: after.get(name) for name in added} == added, arguments
        assert state(home, ("dist/good", "in.txt")) == around, arguments
