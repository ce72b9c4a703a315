"""A third-party plugin, installed from its own distribution, works like the built-in ones."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phibuild.registry import DISABLED
from phibuild.testing.checkpoint_edits import set_chat_template
from tests.backends.conftest import Tiny
from tests.conftest import Project

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "third_party_plugin"
MAKE = """\
phi = env.PhiModel("tiny")
env.Int8Safetensors("dist/m.safetensors", phi, group_size=64, keep=["*embed_tokens*"])
"""

LAYOUT = """
import json, sys
from pathlib import Path
from phibuild.api import describe_contents
print(json.dumps([
    [(tensor.name, tensor.offset) for tensor in describe_contents(Path(path)).tensors]
    for path in sys.argv[1:]
]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin's distribution, built and installed into a folder of its own."""
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "-q", "install", "--no-deps", "--target", folder, source]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def on_the_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process started from the test finds the plugin by its entry point."""
    monkeypatch.setenv("PYTHONPATH", str(installed))


@pytest.mark.toolchain
@pytest.mark.usefixtures("on_the_path")
def test_its_builder_follows_the_recipe(project_of_tiny: Project, tiny: Tiny) -> None:
    checkpoint = tiny("phi-3")
    project_of_tiny.sconstruct(MAKE)
    ran = project_of_tiny.scons()
    assert ran.status == 0, ran.text
    assert ran.actions[-1] == "int8.quantize"
    shown = project_of_tiny.phibuild("show", "dist/m.safetensors").text
    assert "unchanged by size and time" in shown
    rows = {words[0]: words[1] for line in shown.splitlines() if len(words := line.split()) > 1}
    assert rows["lm_head.weight"] == "I8"
    assert rows["lm_head.weight_scale"] == "F32"
    assert rows["model.embed_tokens.weight"] == "BF16"
    set_chat_template(checkpoint, "{{ messages[0]['content'] }}")
    assert project_of_tiny.scons().actions == []  # the plugin reads only the weights


@pytest.mark.usefixtures("on_the_path")
def test_it_is_listed_like_built_in_plugins(project_of_tiny: Project) -> None:
    listed = project_of_tiny.phibuild("plugins").text
    assert "int8-safetensors" in listed
    assert "phibuild-int8" in listed
    assert "gguf" in listed


@pytest.mark.usefixtures("on_the_path")
def test_its_fields_are_checked_when_the_sconstruct_is_read(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    project_of_tiny.sconstruct(MAKE.replace("group_size=64", "group_size=96"))
    ran = project_of_tiny.scons()
    assert (ran.status, ran.actions) == (2, [])
    assert "[PHI203] Int8Safetensors: group_size=96 does not divide" in ran.text
    assert f"{project_of_tiny.folder / 'SConstruct'}, line 5" in ran.text


@pytest.mark.toolchain
@pytest.mark.usefixtures("on_the_path")
def test_its_artifact_goes_into_a_model_image_and_a_delta(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    tiny("phi-3")
    project_of_tiny.sconstruct(
        MAKE.replace("env.Int8Safetensors", "model = env.Int8Safetensors")
        + 'env.FirmwareImage("dist/m.img", model)\n'
        + 'env.FirmwareImage("dist/m.tar.img", model, container="tar")\n'
    )
    ran = project_of_tiny.scons()
    assert ran.status == 0, ran.text
    assert "payload = INT8, a single file" in project_of_tiny.phibuild("show", "dist/m.img").text
    assert b"\0model.safetensors\0" in (project_of_tiny.folder / "dist/m.tar.img").read_bytes()
    read = project_of_tiny.run(sys.executable, "-c", LAYOUT, "dist/m.safetensors", "dist/m.img")
    of_file, of_image = (set(map(tuple, places)) for places in json.loads(read.text))
    assert of_file
    assert of_image == {(name, offset + 4096) for name, offset in of_file}


@pytest.mark.usefixtures("on_the_path")
def test_init_proposes_its_format(project_of_tiny: Project, tiny: Tiny) -> None:
    tiny("phi-3")
    (project_of_tiny.folder / "SConstruct").unlink(missing_ok=True)
    assert project_of_tiny.phibuild("init", "tiny").status == 0
    text = (project_of_tiny.folder / "SConstruct").read_text()
    assert "env.Int8Safetensors('dist/tiny-int8.safetensors', phi, group_size=64)" in text
    assert project_of_tiny.phibuild("plan").status == 0


@pytest.mark.usefixtures("on_the_path")
def test_it_can_be_disabled(project_of_tiny: Project) -> None:
    disabled = {DISABLED: "int8-safetensors"}
    assert "env.Int8Safetensors" in project_of_tiny.phibuild("plugins").text
    assert "env.Int8Safetensors" not in project_of_tiny.phibuild("plugins", **disabled).text


def test_without_it_its_builder_does_not_exist(project_of_tiny: Project, tiny: Tiny) -> None:
    tiny("phi-3")
    project_of_tiny.sconstruct(MAKE)
    ran = project_of_tiny.scons()
    assert ran.status == 2
    assert "Int8Safetensors" in ran.text


def test_its_own_tests_pass_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
