"""llama.cpp stops at every end in generation_config.json; an edit of them costs the metadata."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from phibuild.engine.building.realize import realize_tool
from phibuild.engine.workshop import Workshop
from phibuild.testing._checkpoints.tokenizer_files import as_json
from phibuild.testing._checkpoints.tokenizers import make_tokenizer
from tests.backends.cases import artifact
from tests.backends.conftest import SETTINGS, Tiny
from tests.conftest import Project

pytestmark = pytest.mark.toolchain
ASSISTANT = make_tokenizer("phi-3", 1056).id_of("<|assistant|>")
FAMILIES = ("phi-2", "phi-3", "phi-4-mini")


def ends_of(path: Path) -> set[int]:
    """The tokens at which llama.cpp stops, from its log."""
    program = realize_tool(Workshop.open(), "llama.cpp") / "bin" / "llama-completion"
    done = subprocess.run(
        [program, "-m", path, "-p", "a", "-n", "1", "-c", "64", "-no-cnv", "--no-warmup", "-v"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    text = done.stderr.decode(errors="replace")
    assert done.returncode == 0, text[-4000:]
    return set(map(int, re.findall(r"EOG token +=\s+(\d+)", text)))


def set_ends(folder: Path, ends: Any) -> None:
    path = folder / SETTINGS
    path.write_bytes(as_json(json.loads(path.read_bytes()) | {"eos_token_id": ends}))


@pytest.mark.parametrize("family", FAMILIES)
def test_all_ends_of_a_published_checkpoint_are_ends(
    project_of_tiny: Project, tiny: Tiny, family: str
) -> None:
    folder = tiny(family)
    ask = 'env.Generate("build/answer.txt", a, prompt="Hello", max_tokens=3)\n'
    project_of_tiny.sconstruct(artifact("gguf", "fp16") + ask)
    ran = project_of_tiny.scons()
    assert ran.status == 0, ran.text
    assert (project_of_tiny.folder / "build/answer.txt").read_text().strip()
    named = json.loads((folder / SETTINGS).read_bytes())["eos_token_id"]
    ends = set(named if isinstance(named, list) else [named])
    if family == "phi-3":  # it names <|assistant|>, at which llama.cpp would stop before an answer
        ends.remove(ASSISTANT)
    assert ends <= ends_of(project_of_tiny.folder / "dist/m.gguf")


def test_an_edit_of_the_ends_costs_the_metadata_and_takes_effect(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    folder = tiny("phi-4-mini")
    project_of_tiny.sconstruct(artifact("gguf", "fp16"))
    assert project_of_tiny.scons().status == 0
    path = project_of_tiny.folder / "dist/m.gguf"
    before = ends_of(path)
    set_ends(folder, [300, 301])
    assert project_of_tiny.scons().actions == ["gguf.metadata", "gguf.write"]
    assert ends_of(path) == before | {300, 301}
    set_ends(folder, [300, 301, 302])
    ran = project_of_tiny.scons()
    assert ran.status == 2
    assert "[PHI203]" in ran.text
    assert "ends generation at 3 tokens" in ran.text
