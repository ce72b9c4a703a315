"""A handful of hostile checkpoints through the real SCons: one error, nothing is built."""

from __future__ import annotations

import json
import os

import pytest

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project
from tests.source.hostile import SHARD, hostile

CASES = {case.name: case for case in hostile()}
CHOSEN = {
    "config.json: a pipe": "PHI103",
    "config.json: 5 GB of nothing": "PHI103",
    "config.json: deep objects": "PHI103",
    "tokenizer.json: a folder": "PHI103",
    "tokenizer_config.json: a link to itself": "PHI113",
    "chat_template.jinja: a link to /dev/zero": "PHI103",
    "config.json: num_hidden_layers is a billion": "PHI103",
    "config.json: vocab_size is 2^31": "PHI107",
    f"{SHARD}: a pipe": "PHI103",
    "a shard with 900,000 tensors": "PHI102",
    "a shard with 8 TB of nothing": "PHI102",
    "a template with a line end in its name": "PHI105",
}
BUILD = """\
env.GGUF("out/a.gguf", "m", quant="Q4_0")
env.OpenVINO("out/ir", "m", precision="int4")
"""


def refused(project: Project) -> str:
    """What SCons says, which ends with one error before anything is built."""
    project.sconstruct(BUILD)
    ran = project.scons()
    assert ran.status == 2, ran.text
    assert "Traceback" not in ran.text, ran.text
    assert ran.text.count("[PHI") == ran.text.count("hint:") == 1, ran.text
    assert not (project.folder / "out").exists()
    return ran.text


@pytest.mark.parametrize(("name", "code"), CHOSEN.items())
def test_a_hostile_checkpoint_ends_in_one_error(project: Project, name: str, code: str) -> None:
    folder = write_checkpoint(project.folder / "m", FAMILIES["phi-3.5"], layers=1, shards=2)
    CASES[name].edit(folder)
    assert f"[{code}]" in refused(project)


@pytest.mark.parametrize("family", ["phi-2", "phi-3", "phi-3.5-moe"])
@pytest.mark.parametrize("header", [{}, {"__metadata__": {"format": "pt"}}])
def test_a_checkpoint_without_any_tensors_is_refused(
    project: Project, family: str, header: dict[str, object]
) -> None:
    folder = write_checkpoint(project.folder / "m", FAMILIES[family], layers=1)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    assert "[PHI107]" in refused(project)
    assert "without any tensor" in refused(project)


def test_a_model_card_that_never_ends_is_not_waited_for(project: Project) -> None:
    folder = write_checkpoint(project.folder / "m", FAMILIES["phi-3"], layers=1)
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")
    project.sconstruct(BUILD)
    assert project.scons("-n").status == 0


@pytest.mark.parametrize("command", ["show", "delta apply -o new in.txt", "delta make in.txt"])
def test_commands_refuse_what_is_not_a_file(project: Project, command: str) -> None:
    project.write("in.txt", "text")
    os.mkfifo(project.folder / "pipe")
    os.mkfifo(project.folder / "pipe.phi.json")
    ran = project.phibuild(*command.split(), "pipe")
    assert ran.status != 0
    assert "Traceback" not in ran.text, ran.text
