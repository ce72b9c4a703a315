"""A target that would destroy something is refused when the SConstruct is read (PHI205): nothing on
the disk changes, whatever the kind of run, and whatever the order of the declarations."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import phibuild
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import BUILD, HEADER, WORKER, Project, Ran
from tests.snapshots import snapshot

COPY = 'env.Artifact({target!r}, worker="twice.py", inputs={{"text": {text!r}}}, times=2)\n'
RUNS = ((), ("-n",), ("-c",), ("-c", "-n"), ("-h",), ("plan",))


def copy(target: str, text: str = "in.txt") -> str:
    """A line that declares a cheap artifact."""
    return COPY.format(target=target, text=text)


def run(project: Project, arguments: tuple[str, ...]) -> Ran:
    if arguments == ("plan",):
        return project.phibuild("plan")
    return project.scons(*arguments)


def assert_refused(
    project: Project, message: str, runs: tuple[tuple[str, ...], ...] = RUNS
) -> None:
    """Each kind of run names what is wrong, and changes nothing in the project."""
    around = project.folder.parent
    project.scons("-h")  # makes the store
    before = snapshot(around, without=(around / "store",))
    for arguments in runs:
        ran = run(project, arguments)
        assert ran.status != 0, (arguments, ran.text)
        assert "[PHI205]" in ran.text, (arguments, ran.text)
        assert message in ran.text, (arguments, ran.text)
        assert "hint: " in ran.text
        assert "SConstruct, line " in ran.text
        assert "Traceback" not in ran.text
        assert snapshot(around, without=(around / "store",)) == before, arguments


@pytest.fixture
def copying(copying: Project) -> Project:
    """The copying project, with a checkpoint."""
    write_checkpoint(copying.folder / "models" / "m", FAMILIES["phi-3"], layers=1)
    copying.write("dist/mine/notes.txt", "the user's")
    return copying


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("models/m", "the target models/m is the source model models/m"),
        ("models", "the target models contains the source model models/m"),
        ("models/m/out", "the target models/m/out lies in the source model models/m"),
        ("models/m/config.json", "lies in the source model models/m"),
        ("models/../models/m", "the target models/m is the source model models/m"),
        ("{folder}/models/m", "the target models/m is the source model models/m"),
        ("{folder}", "the target . is the project's folder"),
        ("..", "is not a path for an artifact"),
        (".", "is not a path for an artifact"),
        ("dist/..", "is not a path for an artifact"),
        ("./", "is not a path for an artifact"),
        ("", "is not a path for an artifact"),
        ("#", "is not a path for an artifact"),
        ("/", "is not a path for an artifact"),
        ("~", "SCons does not expand ~"),
        ("~/models", "SCons does not expand ~"),
        ("{folder}/..", "is not a path for an artifact"),
        ("../project", "the target "),
        ("{above}", "the target "),
        ("SConstruct", "the target SConstruct is the script SConstruct"),
        ("/proc", "the target /proc is the root of a file system"),
    ],
)
def test_a_target_that_would_replace_the_model_or_the_project_is_refused(
    copying: Project, target: str, message: str
) -> None:
    target = target.format(folder=copying.folder, above=copying.folder.parent)
    copying.sconstruct(f'phi = env.PhiModel("models/m")\nenv.MLX({target!r}, phi)\n')
    assert_refused(copying, message)


@pytest.mark.parametrize("target", ["models", "models/m", "models/m/out"])
def test_a_model_that_no_builder_uses_counts_before_and_after(
    copying: Project, target: str
) -> None:
    lines = [copy(target), 'env.PhiModel("models/m")\n']
    # A model that an earlier target builds is its artifact, whatever lies there now.
    for order in (lines, lines[::-1])[target == "models/m" :]:
        copying.sconstruct("".join(order))
        assert_refused(copying, f"the target {target} ", runs=((), ("-c",)))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([copy("in.txt")], "the target in.txt is the input in.txt"),
        ([copy("data", "data/a.txt")], "the target data contains the input data/a.txt"),
        ([copy("twice.py")], "the target twice.py is the worker twice.py"),
        ([copy("data/out", "data")], "the target data/out lies in the input data"),
        ([copy("b"), copy("in.txt", "data/a.txt")], "the target in.txt is the input in.txt"),
        ([copy("a"), copy("a/b")], "the target a/b lies in the target a"),
        ([copy("a/b"), copy("a")], "the target a contains the target a/b"),
        ([copy("a"), copy("a.phi.json")], "the target a.phi.json is the manifest a.phi.json"),
        ([copy("a.phi.json"), copy("a")], "the manifest a.phi.json is the target a.phi.json"),
        ([copy("a"), copy("a.phi.json/b")], "cannot be a file of this build"),
        ([copy("a", "a.phi.json")], "the manifest a.phi.json is the input a.phi.json"),
        ([copy("a"), copy("x", "a/copy.txt")], "the target a contains the input a/copy.txt"),
        ([copy("x", "dist/mine"), copy("dist")], "the target dist contains the input dist/mine"),
        ([copy("in.txt/out")], "cannot be a file of this build"),
        ([copy("./a"), copy("b/../a")], "two targets have the path a"),
    ],
)
def test_inputs_workers_manifests_and_other_targets_are_safe(
    copying: Project, lines: list[str], message: str
) -> None:
    copying.write("data/a.txt", "a")
    copying.write("a.phi.json", "the user's own file")
    copying.sconstruct("".join(lines))
    assert_refused(copying, message, runs=((), ("-c",), ("-n",)))


def test_another_script_is_safe_whether_it_was_read_or_will_be(copying: Project) -> None:
    copying.write("sub/SConscript", HEADER)
    copying.sconstruct('SConscript("sub/SConscript")\n' + copy("sub"))
    assert_refused(copying, "the target sub contains the script sub/SConscript", runs=((), ("-c",)))
    copying.sconstruct(copy("sub") + 'SConscript("sub/SConscript")\n' + copy("other"))
    assert_refused(copying, "the target sub contains the script sub/SConscript", runs=((), ("-c",)))
    copying.sconstruct(copy("sub") + 'SConscript("sub/SConscript")\n')
    ran = copying.scons()
    assert ran.status == 2
    assert "the target sub contains the script sub/SConscript" in ran.text
    assert ran.actions == []


def test_what_another_rule_builds_is_safe(copying: Project) -> None:
    rule = 'env.Command("out/a.txt", "in.txt", "cp $SOURCE $TARGET")\n'
    copying.sconstruct(rule + copy("out"))
    assert_refused(
        copying, "is or contains out/a.txt, which another rule builds", runs=((), ("-c",))
    )
    copying.sconstruct(copy("out") + rule)
    ran = copying.scons("out")
    assert ran.status == 2
    assert "is or contains out/a.txt, which another rule builds" in ran.text
    assert ran.actions == []


def test_the_home_folder_and_the_store_are_safe(copying: Project, tmp_path: Path) -> None:
    home = tmp_path / "home" / "me"
    home.mkdir(parents=True)
    (home / "letter.txt").write_text("dear")
    around = Project(copying.folder, {**copying.environment, "HOME": str(home)})
    store = copying.environment["PHIBUILD_STORE"]
    for target, message in (
        (home, "is the home folder"),
        (home.parent, "contains the home folder"),
        (store, "is phibuild's store"),
        (f"{store}/objects", "lies in phibuild's store"),
    ):
        around.sconstruct(copy(str(target)))
        assert_refused(around, message)
    inside = Project(copying.folder, {"PHIBUILD_STORE": str(copying.folder / "cache" / "store")})
    inside.sconstruct(copy("cache"))
    ran = inside.scons()
    assert "[PHI205] the target cache contains phibuild's store" in ran.text


def test_the_python_that_builds_is_safe(copying: Project) -> None:
    for target in (sys.prefix, sys.base_prefix, str(Path(phibuild.__file__).parent)):
        copying.sconstruct(copy(target))
        assert_refused(copying, f"the target {target} ", runs=((), ("-c",)))


@pytest.mark.parametrize(
    ("link", "leads_to", "target"),
    [
        ("link", "models/m", "link"),
        ("link", "models", "link"),
        ("link", "models", "link/m"),
        ("link", "models", "link/m/out"),
        ("link", "models/m", "link/../m"),
        ("dist/link", "../models/m", "dist/link"),
        ("dist/link", "../models", "dist/link/m/out"),
        ("link", ".", "link/models"),
        ("link", ".", "link"),
        ("link", "..", "link"),
        ("link", "nowhere", "models/m"),
    ],
)
def test_links_are_resolved(copying: Project, link: str, leads_to: str, target: str) -> None:
    (copying.folder / link).symlink_to(leads_to)
    copying.sconstruct(f'env.PhiModel("models/m")\n{copy(target)}')
    if target == "link/../m":  # SCons takes the dots away first
        assert copying.scons("-n").status == 0
    else:
        assert_refused(copying, "the target ", runs=((), ("-c",)))


def test_a_model_that_is_a_link_is_safe_at_both_ends(copying: Project, tmp_path: Path) -> None:
    (copying.folder / "models" / "m").rename(tmp_path / "real")
    (copying.folder / "models" / "m").symlink_to(tmp_path / "real")
    for target in ("models", "models/m", str(tmp_path / "real"), str(tmp_path / "real" / "x")):
        copying.sconstruct(f'env.PhiModel("models/m")\n{copy(target)}')
        assert_refused(copying, "the target ", runs=((), ("-c",)))


def test_the_blobs_behind_a_models_links_are_safe(copying: Project) -> None:
    """As the cache of the Hugging Face Hub lays them out."""
    hub = copying.folder / "hub"
    (hub / "blobs").mkdir(parents=True)
    (hub / "snapshots").mkdir()
    shutil.move(copying.folder / "models" / "m", hub / "snapshots" / "1")
    snapshot_folder = hub / "snapshots" / "1"
    weights = snapshot_folder / "model.safetensors"
    weights.rename(hub / "blobs" / "abc")
    weights.symlink_to("../../blobs/abc")
    for target in ("hub/blobs", "hub/blobs/abc"):
        copying.sconstruct(f'env.PhiModel("hub/snapshots/1")\n{copy(target)}')
        assert_refused(copying, f"the target {target} ", runs=((), ("-c",)))


def test_a_dangling_link_leads_where_it_will_lead(copying: Project) -> None:
    (copying.folder / "one").symlink_to("later")
    copying.sconstruct(copy("one") + copy("later"))
    assert_refused(copying, "the target later is the target one", runs=((), ("-c",)))


def test_two_targets_through_a_link_are_one_path(copying: Project) -> None:
    (copying.folder / "latest").symlink_to("dist")
    copying.sconstruct(copy("dist/a") + copy("latest/a"))
    assert_refused(copying, "the target latest/a is the target dist/a", runs=((), ("-c",)))


def test_a_script_in_a_folder_or_a_variant_is_held_to_the_same(copying: Project) -> None:
    write_checkpoint(copying.folder / "sub" / "m", FAMILIES["phi-3"], layers=1)
    copying.write("sub/twice.py", WORKER)
    copying.write("sub/in.txt", "hello ")
    for script in ('env.MLX("m", "m")\n', 'env.MLX(Dir("m"), "m")\n', copy("in.txt")):
        copying.write("sub/SConscript", HEADER + script)
        copying.sconstruct('SConscript("sub/SConscript")\n')
        ran = copying.scons()
        assert "[PHI205] the target sub/" in ran.text, ran.text
        assert f"{copying.folder / 'sub' / 'SConscript'}, line 4." in ran.text
    copying.write("sub/SConscript", HEADER + copy("out"))
    copying.sconstruct('SConscript("sub/SConscript", variant_dir="build", duplicate=0)\n')
    assert copying.scons().names("built") == ["build/out"]
    copying.write("sub/SConscript", HEADER + 'env.PhiModel("#sub/m")\n' + copy("../sub/m"))
    assert "[PHI205] the target sub/m is the source model sub/m" in copying.scons().text


def test_a_node_is_a_path_too(copying: Project) -> None:
    copying.sconstruct(
        'env.Artifact(Dir("."), worker="twice.py", inputs={"text": "in.txt"}, times=2)\n'
    )
    assert_refused(copying, "the target . is the project's folder", runs=((), ("-c",)))


def test_what_is_fine_stays_fine(copying: Project) -> None:
    """Artifacts of artifacts, sisters with names that begin alike, odd names, other projects."""
    copying.write("more.txt", "more ")
    copying.sconstruct(
        BUILD
        + copy("dist/copy2")
        + copy("dist/copy2.txt")
        + copy("models/m2")
        + copy("models/m.phi")
        + copy("../elsewhere/out")
        + copy("odd [x] name\nwith lines")
        + copy("Dist/A")
        + copy("dist/mine2/deep/er")
        + 'env.PhiModel("models/m")\n'
        + 'env.Artifact("of", worker="twice.py", inputs={"text": "more.txt", "a": a}, times=2)\n'
    )
    ran = copying.scons()
    assert ran.status == 0, ran.text
    assert len(ran.names("built")) == 2, ran.text
    assert copying.scons().text == "scons: `.' is up to date.\n"


def test_files_that_rules_may_name_are_inputs_too(copying: Project) -> None:
    device = 'd = env.DeviceSources("build/device", env.FirmwareImage("build/m.img", "in.txt"))\n'
    use = copy("x", "build/device/phi_model.c")
    for lines in ([device, use], [use, device]):
        copying.sconstruct("".join(lines))
        ran = copying.scons()
        assert ran.status == 0, ran.text
    copying.sconstruct(device + copy("x", "build/device/stranger.c"))
    assert_refused(copying, "the target build/device contains the input", runs=((), ("-c",)))
