"""The example of PlatformIO, by the real `pio` and offline after it is installed; with and without
phibuild in its Python."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import pytest

from phibuild.cli.platformio_script import SCRIPT
from tests.conftest import Project, Ran
from tests.guests.foreign import NEWEST_SCONS, PHIBUILD, environment_with

pytestmark = pytest.mark.toolchain

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "platformio"
PLATFORMIO = "platformio==6.2.0"
TOOL = {"name": "tool-scons", "version": "4.41101.0"}
SPEC = {"owner": "platformio", "name": "tool-scons", "id": None, "requirements": None, "uri": None}


def core_folder(folder: Path) -> Path:
    """PlatformIO's own folder, with the package that it starts SCons by; its server has another."""
    tool = folder / "packages" / "tool-scons"
    tool.mkdir(parents=True)
    (tool / "package.json").write_text(json.dumps({**TOOL, "description": "this SCons"}))
    (tool / ".piopm").write_text(json.dumps({"type": "tool", "spec": SPEC, **TOOL}))
    (tool / "scons.py").write_text("import SCons.Script\n\nSCons.Script.main()\n")
    return folder


@pytest.fixture(scope="module", params=["in-process", "subprocess"])
def pio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the example whose model nobody made before, built once."""
    folder = tmp_path_factory.mktemp("platformio")
    ours = ["pytest", "--editable", str(ROOT)] if request.param == "in-process" else []
    python = environment_with(folder / "python", PLATFORMIO, NEWEST_SCONS, *ours)
    settings = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "PLATFORMIO_CORE_DIR": str(core_folder(folder / "core")),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PHIBUILD": PHIBUILD if request.param == "subprocess" else "false",
    }
    project = Project(folder / "example", settings)
    ignored = shutil.ignore_patterns(".pio", ".phibuild", "build", ".scons*")
    shutil.copytree(EXAMPLE, project.folder, ignore=ignored)
    change(project, "model.py", "seed=1", f"seed={random.SystemRandom().randrange(2, 10**9)}")
    return project


def change(project: Project, name: str, old: str, new: str) -> None:
    path = project.folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def run(project: Project, *arguments: str) -> Ran:
    return project.run("pio", "run", *arguments)


def program(project: Project) -> Path:
    return project.folder / ".pio" / "build" / "device" / "program"


def test_it_is_a_dependency_like_any_other(pio: Project) -> None:
    """One story, since each chapter takes seconds."""
    ran = run(pio, "-t", "model")
    assert ran.status == 0, ran.text
    assert ran.actions, "somebody made this model before"
    assert not program(pio).exists()

    ran = run(pio)
    assert ran.status == 0, ran.text
    assert ran.actions == []
    assert pio.run(str(program(pio))).text == "PASS tiny\n"

    ran = run(pio)
    assert "Compiling" not in ran.text
    assert ran.names("recalled") == []

    # PlatformIO erases its build folder when an option changes.
    change(pio, "platformio.ini", "custom_quant", "build_flags = -DOTHER\ncustom_quant")
    ran = run(pio)
    assert ran.status == 0, ran.text
    assert ran.actions == []
    assert ".pio/build/device/tiny.gguf" in ran.names("recalled")

    change(pio, "platformio.ini", "Q4_0", "Q8_0")
    change(pio, "platformio.ini", "3 MiB", "500 KB")
    ran = run(pio)
    assert ran.status != 0
    assert "[PHI701] .pio/build/device/tiny.gguf (Q8_0) will have" in ran.text
    assert "hint: " in ran.text
    assert set(ran.actions) <= {"gguf.predict"}

    change(pio, "platformio.ini", "500 KB", "3 MiB")
    ran = run(pio)
    assert ran.status == 0, ran.text
    assert not any("make_checkpoint" in action for action in ran.actions)
    assert pio.run(str(program(pio))).text == "PASS tiny\n"

    assert "model" in pio.run("pio", "run", "--list-targets").text
    assert run(pio, "-t", "clean").status == 0
    assert not program(pio).parent.exists()
    assert run(pio).actions == []


def test_the_script_is_what_the_command_prints(project: Project) -> None:
    text = project.phibuild("platformio-script").text
    assert text == SCRIPT.read_text() == (EXAMPLE / SCRIPT.name).read_text()


def test_the_script_says_when_there_is_no_phibuild(project: Project) -> None:
    project.write("SConstruct", f"DefaultEnvironment(tools=[])\nSConscript({str(SCRIPT)!r})\n")
    python = environment_with(project.folder / "python", NEWEST_SCONS)
    ran = project.run(str(python), "-P", "-m", "SCons", "-Q", PHIBUILD="no-such-command")
    assert ran.status != 0
    assert "[PHI504] no-such-command does not work" in ran.text
    assert "hint: put phibuild on PATH" in ran.text
    assert sys.executable not in ran.text
