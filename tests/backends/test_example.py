"""The main job, on a real trained model: five artifacts in four formats that answer a question."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Project

pytestmark = pytest.mark.toolchain
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "smollm2_phi3"
ARTIFACTS = ("q4_k_m.gguf", "q8_0.gguf", "onnx-int4-cpu", "openvino-int4", "mlx-int4")


def test_every_artifact_of_the_example_says_paris(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    folder.mkdir()
    for path in (EXAMPLE / "SConstruct", *EXAMPLE.glob("*.py")):
        shutil.copy(path, folder)
    project = Project(folder)
    ran = project.scons()
    assert ran.status == 0, ran.text
    answered = [line for line in ran.text.splitlines() if "generated in its own runtime" in line]
    for name in ARTIFACTS:
        (line,) = (line for line in answered if line.startswith(f"dist/smollm2-{name} "))
        assert "Paris" in line.partition("→")[2]
    answers = sorted(path for path in (folder / "build").glob("*.answer.txt"))
    assert len(answers) == len(ARTIFACTS)
    assert all("Paris" in path.read_text() for path in answers)
    assert project.scons().text == "scons: `.' is up to date.\n"
    text = (EXAMPLE / "SConstruct").read_text().replace('expect="Paris"', 'expect="Lisbon"')
    project.write("SConstruct", text)  # the recalled answer is checked against the new text
    ran = project.scons("build/q8_0.answer.txt")
    assert "[PHI801]" in ran.text
    assert "working" not in ran.text


def test_an_unexpected_answer_fails_the_build(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    folder.mkdir()
    for path in EXAMPLE.glob("*.py"):
        shutil.copy(path, folder)
    project = Project(folder)
    text = (EXAMPLE / "SConstruct").read_text().replace('expect="Paris"', 'expect="Lisbon"')
    project.write("SConstruct", text)
    ran = project.scons("build/q8_0.answer.txt")
    assert ran.status == 2
    assert "[PHI801]" in ran.text
    assert "which does not contain 'Lisbon'" in ran.text
    assert not (folder / "build" / "q8_0.answer.txt").exists()
