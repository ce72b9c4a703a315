"""Named templates in files are in each format as its toolkit writes them; only sidecars run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from phibuild_gguf.format.header import Array, read_header

from phibuild.testing.checkpoint_edits import set_chat_template
from tests.backends.cases import CALLS, TEMPLATE, artifact, path
from tests.backends.conftest import Tiny
from tests.backends.slices import run_toolkit
from tests.conftest import Project

pytestmark = pytest.mark.toolchain
TOOL_USE = "{% for m in messages %}TOOL {{ m['content'] }}{% endfor %}"
SAVED_BY_TRANSFORMERS = """
import sys
from transformers import AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[2])
"""


def write_templates(checkpoint: Path, text: str) -> None:
    (checkpoint / "additional_chat_templates").mkdir(exist_ok=True)
    (checkpoint / "additional_chat_templates" / "tool_use.jinja").write_text(text)


def templates_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.jinja")
    }


@pytest.mark.parametrize("backend", CALLS)
def test_named_templates_in_files_are_in_the_artifact(
    project_of_tiny: Project, tiny: Tiny, backend: str, seed: int
) -> None:
    checkpoint = tiny("phi-3", spelling="transformers5")
    default = f"{{{{ '{seed}' }}}}"
    set_chat_template(checkpoint, default)
    project_of_tiny.sconstruct(artifact(backend))
    assert project_of_tiny.scons().status == 0
    built = project_of_tiny.folder / path(backend)
    for text in (TOOL_USE, TOOL_USE + "!"):
        write_templates(checkpoint, text)
        ran = project_of_tiny.scons()
        assert ran.actions == TEMPLATE[backend], ran.text
        if backend == "gguf":
            header = read_header(built)
            assert header.value("tokenizer.chat_template") == default
            assert header.value("tokenizer.chat_template.tool_use") == text
            assert header.value("tokenizer.chat_templates") == Array(1, ("tool_use",))
        else:
            saved = project_of_tiny.folder / f"saved-{len(text)}"
            run_toolkit(backend, SAVED_BY_TRANSFORMERS, checkpoint, saved)
            assert templates_in(built) == templates_in(saved)
            assert len(templates_in(built)) == 2
            settings = json.loads((built / "tokenizer_config.json").read_bytes())
            assert "chat_template" not in settings
