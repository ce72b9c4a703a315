"""Formats are promises: what phibuild writes for others to read is compared with golden texts.

A golden text that changes means that older files, keys or workers no longer fit: give the format a
new version first. Then write the new text with `python -m tests.formats.test_formats`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.model.action import SLICES, Action, FileInput, Program, facts_of, frozen_recipe
from phibuild.model.digest import Digest
from phibuild.model.facts import Fact, action_key
from phibuild.model.manifest import Manifest
from phibuild.model.tree import Entry, Tree
from phibuild.source import lay_out, read_checkpoint
from phibuild.store import ActionResult, Index
from tests.source.checkpoints import a_checkpoint

GOLDEN = Path(__file__).parent
TREE = Tree(
    (
        Entry("config.json", Digest.of(b"{}"), 2),
        Entry("run/model", Digest.of(b"#!"), 2, executable=True),
    )
)


def manifest(_: Path) -> str:
    return Manifest("dist/model", "ONNX", Digest.of(b"key"), 1_000_000, TREE).to_text()


def result(_: Path) -> str:
    return ActionResult(
        key=Digest.of(b"key"),
        action="onnx.weights",
        facts=(Fact("facts", "1"), Fact("recipe.precision", '"int4"')),
        inputs=(("model", Digest.of(b"input")),),
        tree=TREE,
        seconds=1.5,
        peak_bytes=1 << 30,
        finished="2026-01-01T00:00:00+00:00",
        maker="phibuild 1.0",
    ).to_text()


def facts(_: Path) -> str:
    """One line for each fact, and the key that they make."""
    action = Action(
        name="gguf.write",
        worker=Path("worker_write.py"),
        toolchain="gguf",
        recipe=frozen_recipe({"quant": "Q4_K_M", "overrides": [["ffn", "q8_0"]], "pure": None}),
        slices=("weights", "architecture"),
        inputs=(("imatrix", FileInput("weights.imatrix")),),
        tools=("llama.cpp",),
        programs=(Program("mksquashfs", ("-version",), "version", "install it"),),
    )
    listed = facts_of(
        action,
        worker=Digest.of(b"worker"),
        slices={name: Digest.of(name.encode()) for name in SLICES},
        inputs={"imatrix": Digest.of(b"imatrix")},
        toolchains=(Fact("toolchain.gguf", str(Digest.of(b"lock"))),),
    )
    lines = [f"{fact.name}: {fact.value}" for fact in listed]
    return "\n".join([*lines, f"key: {action_key(listed)}", ""])


def view(folder: Path) -> str:
    """Each file that a worker is shown of a checkpoint, with its text."""
    index = Index(folder / "index.sqlite")
    checkpoint = read_checkpoint(a_checkpoint(folder / "model", eos_token_id=[1, 2]), index)
    index.close()
    lay_out(checkpoint, SLICES, folder / "view")
    return "\n".join(
        f"== {path.name}\n{'(a link)' if path.is_symlink() else path.read_text('utf-8')}\n"
        for path in sorted((folder / "view").iterdir())
    )


TEXTS: dict[str, Callable[[Path], str]] = {
    "manifest.json": manifest,
    "result.json": result,
    "facts.txt": facts,
    "view.txt": view,
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_format_is_what_it_was(name: str, tmp_path: Path) -> None:
    assert TEXTS[name](tmp_path) == (GOLDEN / name).read_text("utf-8")


if __name__ == "__main__":
    for name, text in TEXTS.items():
        with tempfile.TemporaryDirectory() as folder:
            (GOLDEN / name).write_text(text(Path(folder)), "utf-8")
