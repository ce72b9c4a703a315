"""`phibuild show MODEL`: source models, and paths that are not models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project


@pytest.fixture
def model(project: Project) -> Path:
    """A checkpoint in the project."""
    return write_checkpoint(project.folder / "models" / "Tiny", FAMILIES["phi-3.5"], layers=1)


def test_a_model_is_shown(project: Project, model: Path) -> None:
    (model / "adapter_config.json").write_text("{}")
    ran = project.phibuild("show", "models/Tiny")
    assert ran.status == 0, ran.text
    lines = ran.text.splitlines()
    assert lines[0].startswith("Tiny: phi3 (Phi3ForCausalLM), 1 layers, ")
    assert re.fullmatch(r"[\d,]+ weights, [\d.]+ MB: \d+ tensors BF16", lines[1])
    for name in ("weights", "architecture", "tokenizer", "chat_template", "generation"):
        assert re.search(rf"^  {name} +sha256:[0-9a-f]{{64}}$", ran.text, re.MULTILINE)
    assert re.search(r"^  LICENSE +about the model$", ran.text, re.MULTILINE)
    assert "adapter_config.json is ignored: the adapter is not applied: merge it first" in ran.text


def test_its_slices_are_those_that_artifacts_are_made_of(project: Project, model: Path) -> None:
    document = json.loads(project.phibuild("show", "--json", str(model)).text)
    assert document["slices"]["weights"]["files"] == ["model.safetensors"]
    assert document["parameters"] > 0
    before = document["slices"]["chat_template"]["digest"]
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["chat_template"] = "{{ other }}"
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    after = json.loads(project.phibuild("show", "--json", str(model)).text)["slices"]
    assert after["chat_template"]["digest"] != before
    assert after["tokenizer"] == document["slices"]["tokenizer"]


@pytest.mark.parametrize(
    ("path", "code", "hint"),
    [
        ("models/Tiny/config.json", "PHI101", "name its folder"),
        ("models", "PHI103", "models/Tiny"),
        ("models/tiny", "PHI101", "did you mean"),
        ("microsoft/Phi-3-mini-4k-instruct", "PHI101", "hf download microsoft/Phi-3-mini-4k"),
    ],
)
def test_another_path_ends_with_the_way_out(
    project: Project, model: Path, path: str, code: str, hint: str
) -> None:
    ran = project.phibuild("show", path)
    assert ran.status == 1
    assert f"[{code}]" in ran.text
    assert hint in ran.text
    assert "Traceback" not in ran.text


def test_an_sconstruct_says_the_same(project: Project, model: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n"
    (model / "model.safetensors").write_text(pointer)
    project.sconstruct('env.MLX("m", env.PhiModel("models/Tiny"), precision="fp16")\n')
    for ran in (project.scons(), project.phibuild("show", "models/Tiny")):
        assert "[PHI113]" in ran.text
        assert "git lfs pull" in ran.text
        assert "Traceback" not in ran.text


def test_json_is_for_models(copying: Project) -> None:
    copying.scons()
    ran = copying.phibuild("show", "--json", "dist/copy")
    assert ran.status == 2
    assert "--json describes a model" in ran.text


def test_a_home_folder_is_one_in_an_sconstruct(project: Project, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "home" / "Tiny", FAMILIES["phi-3"], layers=1)
    project.sconstruct('phi = env.PhiModel("~/Tiny")\nenv.MLX("dist/m", phi, precision="fp16")\n')
    ran = project.phibuild("plan", HOME=str(tmp_path / "home"))
    assert ran.status == 0, ran.text
    assert "dist/m" in ran.text
