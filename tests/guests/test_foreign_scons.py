"""The builders in a third-party SCons build, with and without phibuild in its Python: the same text
in both, one build for each change, nothing stale."""

from __future__ import annotations

import ast
import os
import random
import shutil
import stat
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from phibuild.cli.scons_site import SITE
from phibuild.testing.checkpoint_edits import change_tensor
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import WORKER, Project, Ran
from tests.guests.foreign import NEWEST_SCONS, OLDEST_SCONS, environment_with, packages_of
from tests.snapshots import snapshot

pytestmark = pytest.mark.toolchain

EXAMPLE = Path(__file__).parents[2] / "examples" / "foreign_scons"
SCONSTRUCT = """\
import os
AddOption("--board", default="one")
Decider({decider})
env = Environment(tools=[], ENV={{"PATH": os.environ["PATH"]}})
Export("env")
copy = SConscript("model/SConscript", variant_dir="build/model", duplicate={duplicate})
firmware = env.Command("build/firmware", copy, "cat $SOURCE/copy.txt > $TARGET && echo linked")
Default(firmware)
"""
SCONSCRIPT = """\
Import("env")
env = env.Clone()
env.Tool("phibuild")
copy = env.Artifact("copy", worker="twice.py", inputs={"text": "in.txt"}, times=2)
other = env.Artifact("other", worker="twice.py", inputs={"text": "in.txt"}, times=3)
Return("copy")
"""


@dataclass(frozen=True)
class Foreign(Project):
    """A third-party build in a folder; `started` has the phibuild commands that it started."""

    python: Path = Path(sys.executable)

    def with_toolchains(self) -> Foreign:
        """The same with the store of the session, where llama.cpp is."""
        settings = {n: text for n, text in self.environment.items() if n != "PHIBUILD_STORE"}
        return replace(self, environment=settings)

    def build(self, *arguments: str, **environment: str) -> Ran:
        site = f"--site-dir={SITE}"
        command = (str(self.python), "-P", "-m", "SCons", "-Q", site, *arguments)
        return self.run(*command, **environment)

    @property
    def started(self) -> list[str]:
        log = self.folder / "started"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    @property
    def firmware(self) -> str:
        return (self.folder / "build" / "firmware").read_text()

    def foreign_sconstruct(self, decider: str = '"content"', duplicate: int = 1) -> None:
        self.write("SConstruct", SCONSTRUCT.format(decider=decider, duplicate=duplicate))


FORMS = [f"{form} {age}" for form in ("in-process", "subprocess") for age in ("oldest", "newest")]
OPPOSITE = [FORMS[1], FORMS[2]]  # each form, and each age, once


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("environments")
    names = {"oldest": OLDEST_SCONS, "newest": NEWEST_SCONS}
    return {name: environment_with(folder / name, scons) for name, scons in names.items()}


@pytest.fixture(params=OPPOSITE)
def foreign(
    request: pytest.FixtureRequest, project: Project, environments: dict[str, Path], tmp_path: Path
) -> Foreign:
    form, age = request.param.split()
    python = environments[age]
    settings = dict(project.environment)
    if form == "in-process":
        settings["PYTHONPATH"] = str(packages_of(python))
        python = Path(sys.executable)
    else:
        command = tmp_path / "bin" / "phibuild"
        command.parent.mkdir()
        log = project.folder / "started"
        command.write_text(
            f'#!/bin/sh\necho "$1" >> {log}\nexec {sys.executable} -P -m phibuild.cli "$@"\n'
        )
        command.chmod(0o755)
        settings["PATH"] = f"{command.parent}:{os.environ['PATH']}"
    build = Foreign(project.folder, settings, python)
    build.foreign_sconstruct()
    build.write("model/SConscript", SCONSCRIPT)
    build.write("model/twice.py", WORKER)
    build.write("model/in.txt", "hello ")
    return build


def is_up_to_date(ran: Ran) -> bool:
    lines = ran.text.splitlines()
    return ran.status == 0 and all(line.endswith("is up to date.") for line in lines)


@pytest.mark.parametrize("foreign", FORMS, indirect=True)
def test_only_what_is_needed_is_built_and_then_nothing(foreign: Foreign) -> None:
    ran = foreign.build()
    assert ran.names("built") == ["build/model/copy"], ran.text
    assert foreign.firmware == "hello hello "
    assert foreign.started in ([], ["plugins", "build"])
    assert is_up_to_date(foreign.build())
    assert foreign.started == []
    assert foreign.build("build/model/other").names("built") == ["build/model/other"]


def test_a_changed_source_builds_once_and_an_equal_one_links_nothing(foreign: Foreign) -> None:
    foreign.build()
    foreign.write("model/in.txt", "bye ")
    ran = foreign.build()
    assert ran.names("built") == ["build/model/copy"]
    assert "linked" in ran.text
    assert foreign.firmware == "bye bye "
    assert is_up_to_date(foreign.build())
    (foreign.folder / "model" / "in.txt").touch()
    assert "linked" not in foreign.build().text
    assert is_up_to_date(foreign.build())


def test_a_changed_module_of_a_worker_builds_once(foreign: Foreign) -> None:
    foreign.write("model/SConscript", SCONSCRIPT.replace("times=2", 'modules=["more.py"], times=2'))
    foreign.write("model/twice.py", WORKER.replace("import", "import more,", 1))
    for text in ("", "# edited\n"):
        foreign.write("model/more.py", text)
        ran = foreign.build()
        assert ran.names("built") == ["build/model/copy"], ran.text
        assert is_up_to_date(foreign.build())


@pytest.mark.parametrize(
    ("decider", "duplicate"),
    [
        ('"MD5-timestamp"', 1),
        ('"timestamp-match"', 1),
        ('"timestamp-newer"', 0),
        ("lambda dependency, target, info, repo_node=None: False", 1),
        ("lambda dependency, target, info, repo_node=None: not os.path.exists(str(target))", 0),
    ],
)
def test_third_party_deciders_do_not_decide_about_models(
    foreign: Foreign, decider: str, duplicate: int
) -> None:
    foreign.foreign_sconstruct(decider, duplicate)
    foreign.build()
    assert foreign.firmware == "hello hello "
    source = foreign.folder / "model" / "in.txt"
    seen = source.stat()
    source.write_text("bye   ")
    os.utime(source, ns=(seen.st_atime_ns, seen.st_mtime_ns - 10**9))  # older than the output
    assert foreign.build("build/model/copy").names("built") == ["build/model/copy"]
    assert is_up_to_date(foreign.build("build/model/copy"))
    copy = foreign.folder / "build" / "model" / "copy" / "copy.txt"
    assert copy.read_text() == "bye   bye   "


def test_a_deleted_or_changed_file_comes_back(foreign: Foreign) -> None:
    foreign.build()
    copy = foreign.folder / "build" / "model" / "copy" / "copy.txt"
    copy.unlink()
    assert foreign.build().names("recalled") == ["build/model/copy"]
    copy.chmod(stat.S_IRUSR | stat.S_IWUSR)
    copy.write_text("another text")
    assert foreign.build().status == 0
    assert copy.read_text() == "hello hello "
    assert is_up_to_date(foreign.build())


def test_cleaning_leaves_nothing_and_a_new_build_recalls(foreign: Foreign) -> None:
    foreign.build("build/firmware", "build/model/other")
    foreign.build("-c", ".")
    left = {path.name for path in foreign.folder.rglob("*") if path.is_file()}
    sources = {"SConstruct", "SConscript", "in.txt", "twice.py", ".sconsign.dblite"}
    assert left - {"started"} == sources
    ran = foreign.build()
    assert ran.names("recalled") == ["build/model/copy"]
    assert ran.actions == []


def test_cleaning_removes_nothing_of_the_users(foreign: Foreign) -> None:
    foreign.build()
    notes = [
        foreign.write(name, "mine")
        for name in ("build/model/copy/notes.txt", "build/model/other/copy.txt", ".phibuild/notes")
    ]
    ran = foreign.build("-c", ".")
    assert [path.read_text() for path in notes] == ["mine"] * 3
    assert f"Kept {foreign.folder / 'build' / 'model' / 'copy'}" in ran.text
    assert not (foreign.folder / "build" / "model" / "copy" / "copy.txt").exists()


@pytest.mark.parametrize("target", ["#", "#model", "#model/in.txt", "#kept", "#build/model/copy"])
def test_an_unsafe_target_is_refused_and_nothing_is_lost(foreign: Foreign, target: str) -> None:
    inputs = '{"text": "in.txt", "kept": "#kept/a"}'
    unsafe = f'env.Artifact("{target}", worker="twice.py", inputs={inputs}, times=3)\n'
    foreign.write("model/SConscript", SCONSCRIPT.replace("Return", unsafe + "Return"))
    foreign.foreign_sconstruct(duplicate=0)
    foreign.write("kept/a", "mine")
    own = {foreign.folder / name for name in ("build", ".phibuild", ".sconsign.dblite", "started")}
    before = snapshot(foreign.folder, without=tuple(own))
    for arguments in (("-c", "."), ("-n", "."), (".",), ("-c", ".")):
        ran = foreign.build(*arguments)
        assert snapshot(foreign.folder, without=tuple(own)) == before, arguments
        if arguments == (".",):
            assert ran.status == 2, ran.text
            assert "[PHI205]" in ran.text
            assert "Traceback" not in ran.text


def test_a_dry_run_changes_nothing(foreign: Foreign) -> None:
    ran = foreign.build("-n")
    assert "make build/model/copy" in ran.text
    assert not (foreign.folder / "build" / "model" / "copy").exists()
    assert not (foreign.folder / ".phibuild").exists()
    assert "build" not in foreign.started


def test_an_option_changes_what_it_is_an_option_of(foreign: Foreign) -> None:
    both = ("build/model/copy", "build/model/other")
    assert sorted(foreign.build("-j4", *both).names("built")) == list(both)
    assert foreign.started in ([], ["plugins", "build"])
    foreign.write("model/SConscript", SCONSCRIPT.replace("times=3", "times=4"))
    assert foreign.build(*both, "--board=two").names("built") == ["build/model/other"]
    assert is_up_to_date(foreign.build(both[0], "--board=two"))


def test_errors_come_with_code_and_hint_and_stop_the_build(foreign: Foreign) -> None:
    foreign.write("model/in.txt", "fail")
    ran = foreign.build()
    assert ran.status == 2
    assert "[PHI401] the text says fail\n  hint: write another" in ran.text
    assert "Traceback" not in ran.text
    assert not (foreign.folder / "build" / "firmware").exists()


def test_a_wrong_field_stops_the_build_before_there_is_any_work(foreign: Foreign) -> None:
    image = 'env.FirmwareImage("model.img", copy, slot_sise=5000)\n'
    foreign.write("model/SConscript", SCONSCRIPT.replace("Return", image + "Return"))
    ran = foreign.build("build/model/model.img")
    assert ran.status == 2
    assert "did you mean 'slot_size'" in ran.text
    assert ran.actions == []


def test_a_source_that_the_foreign_build_makes_comes_first(foreign: Foreign) -> None:
    foreign.write(
        "SConstruct",
        SCONSTRUCT.format(decider='"content"', duplicate=0).replace(
            "copy = ",
            'env.Command("build/model/words.txt", "words", "cat $SOURCE > $TARGET")\ncopy = ',
        )
        + 'Default("build/model/other")\n',
    )
    foreign.write("words", "one ")
    foreign.write("model/SConscript", SCONSCRIPT.replace("in.txt", "words.txt", 1))
    assert foreign.build().status == 0
    assert foreign.firmware == "one one "
    foreign.write("words", "two ")
    assert foreign.build().names("built") == ["build/model/copy"]
    assert foreign.firmware == "two two "
    assert is_up_to_date(foreign.build())


def test_old_pythons_can_read_the_tool() -> None:
    for path in SITE.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 7))


def test_without_a_command_it_says_what_to_do(
    project: Project, environments: dict[str, Path]
) -> None:
    project.write("SConstruct", 'Environment(tools=["phibuild"])\n')
    scons = [str(environments["newest"]), "-P", "-m", "SCons", "-Q", f"--site-dir={SITE}"]
    ran = project.run(*scons, PATH="/usr/bin:/bin", PHIBUILD="")
    assert ran.status == 2
    assert "[PHI504] this Python" in ran.text
    assert "hint: put it on PATH" in ran.text
    ran = project.run(*scons, PHIBUILD="false")
    assert "[PHI504] false does not work" in ran.text


@pytest.mark.parametrize("foreign", FORMS, indirect=True)
def test_the_example_puts_a_model_into_somebodys_firmware(
    foreign: Foreign,
) -> None:
    ignored = shutil.ignore_patterns("build", ".scons*", ".phibuild")
    shutil.copytree(EXAMPLE, foreign.folder, ignore=ignored, dirs_exist_ok=True)
    example = foreign.with_toolchains()
    script = example.folder / "packages" / "phi" / "SConscript"
    seed = random.SystemRandom().randrange(2, 10**9)
    script.write_text(script.read_text().replace("seed=1", f"seed={seed}"))

    ran = example.build("-j2")
    assert ran.status == 0, ran.text
    assert ran.names("built") == ["build/phi/tiny", "build/phi/tiny.gguf", "build/phi/model"]
    assert example.run("build/firmware").text == "PASS tiny\n"
    assert is_up_to_date(example.build())

    main = example.folder / "kernel" / "main.c"
    main.write_text(main.read_text().replace("PASS", "GOOD"))
    assert example.build().actions == []
    assert example.run("build/firmware").text == "GOOD tiny\n"

    script.write_text(script.read_text().replace("Q4_0", "Q8_0"))
    ran = example.build()
    assert ran.names("built") == ["build/phi/tiny.gguf", "build/phi/model"]
    assert example.run("build/firmware").text == "GOOD tiny\n"

    script.write_text(script.read_text().replace("3 MiB", "500 KB").replace("Q8_0", "Q6_K"))
    ran = example.build()
    assert ran.status == 2
    assert "[PHI701] build/phi/tiny.gguf (Q6_K) will have" in ran.text
    assert "hint: these would fit" in ran.text or "hint: none" in ran.text
    assert set(ran.actions) <= {"gguf.predict"}


@pytest.mark.parametrize("foreign", FORMS[1:2], indirect=True)
def test_the_examples_groups_take_a_folder_as_rt_thread_does(foreign: Foreign) -> None:
    """So that the snippet in docs/guests.md is tested: a plain `Dir` is the source folder there."""
    ignored = shutil.ignore_patterns("build", ".scons*", ".phibuild")
    shutil.copytree(EXAMPLE, foreign.folder, ignore=ignored, dirs_exist_ok=True)
    example = foreign.with_toolchains()
    script = example.folder / "packages" / "phi" / "SConscript"
    script.write_text(script.read_text().replace('Dir("model").abspath', 'Dir("model")'))
    ran = example.build()
    assert ran.status == 2
    assert "-Ipackages/phi/model" in ran.text


INSTALLING = """\
Default(env.Install("out", copy))
env.InstallAs("out/other name", other)
env.Zip("out/x.zip", [copy, "in.txt"])
"""


@pytest.mark.parametrize("foreign", FORMS, indirect=True)
def test_artifacts_are_installed_and_archived(foreign: Foreign) -> None:
    foreign.write("model/SConscript", SCONSCRIPT.replace("Return", INSTALLING + "Return"))
    ran = foreign.build(".")
    assert ran.status == 0, ran.text
    out = foreign.folder / "build" / "model" / "out"
    assert (out / "copy" / "copy.txt").read_text() == "hello hello "
    assert (out / "other name" / "copy.txt").read_text() == "hello hello hello "
    with zipfile.ZipFile(out / "x.zip") as archive:
        assert sorted(archive.namelist()) == [
            "build/model/copy/copy.txt",
            "build/model/copy/sub/more.txt",
            "build/model/in.txt",
        ]
    assert is_up_to_date(foreign.build("."))
    foreign.write("model/in.txt", "bye ")
    assert foreign.build(".").status == 0
    assert (out / "copy" / "copy.txt").read_text() == "bye bye "
    assert is_up_to_date(foreign.build("."))
    foreign.build("-c", ".")
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_the_builders_of_disabled_plugins_are_left_out(foreign: Foreign) -> None:
    foreign.write("SConstruct", 'print(hasattr(Environment(tools=["phibuild"]), "GGUF"))\n')
    for disabled, is_offered in (("", True), ("gguf", False), ("", True)):
        ran = foreign.build(PHIBUILD_DISABLED_PLUGINS=disabled)
        assert ran.text.splitlines()[0] == str(is_offered), ran.text


def test_a_changed_shard_builds_once(foreign: Foreign) -> None:
    build = foreign.with_toolchains()
    seed = random.SystemRandom().randrange(2, 10**9)
    write_checkpoint(build.folder / "phi", FAMILIES["phi-3"], layers=1, seed=seed)
    build.write(
        "SConstruct",
        'env = Environment(tools=["phibuild"])\n'
        'env.GGUF("tiny.gguf", env.PhiModel("phi"), quant="Q4_0")\n',
    )
    assert build.build().names("built") == ["tiny.gguf"]
    assert is_up_to_date(build.build())
    change_tensor(build.folder / "phi", "model.norm.weight")
    ran = build.build()
    assert ran.names("built") == ["tiny.gguf"], ran.text
    assert is_up_to_date(build.build())
