"""An edit of a checkpoint or a recipe quantizes only the tensors that it changes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from phibuild_gguf.format.header import read_header

from phibuild.engine.workshop import Workshop
from phibuild.model.digest import Digest
from phibuild.store.index import hash_file
from phibuild.testing.checkpoint_edits import change_tensor, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.slices import progress_of

pytestmark = pytest.mark.toolchain


@dataclasses.dataclass(frozen=True)
class BuiltModel:
    """A checkpoint, and the folder of its artifact."""

    checkpoint: Path
    folder: Path

    def quantizes(self, **fields: Any) -> set[str]:
        """Build the artifact as a new process would; returns the tensors that were quantized."""
        heard = progress_of(
            "GGUF", {"quant": "Q4_K_M"} | fields, self.checkpoint, self.folder / "m.gguf"
        )
        return {text for text in heard if text.endswith((".weight", ".bias"))}

    @property
    def artifact(self) -> Path:
        return self.folder / "m.gguf"


@pytest.fixture
def built(tmp_path: Path, seed: int) -> BuiltModel:
    checkpoint = write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=2, seed=seed)
    artifact = BuiltModel(checkpoint, tmp_path)
    assert len(artifact.quantizes()) == 15
    return artifact


def test_a_changed_tensor_is_quantized_alone(built: BuiltModel) -> None:
    change_tensor(built.checkpoint, "model.layers.1.mlp.down_proj.weight")
    assert built.quantizes() == {"blk.1.ffn_down.weight"}


def test_an_override_quantizes_the_tensor_that_it_names(built: BuiltModel) -> None:
    overrides = {r"blk\.0\.ffn_up": "q8_0"}
    assert built.quantizes(overrides=overrides) == {"blk.0.ffn_up.weight"}


def test_another_file_type_quantizes_what_no_artifact_has(built: BuiltModel) -> None:
    before = {info.name: info.type for info in read_header(built.artifact).tensors}
    ran = built.quantizes(quant="Q4_K_S")
    after = {info.name: info.type for info in read_header(built.artifact).tensors}
    assert ran == {name for name in after if after[name] != before[name]}


def test_a_chat_template_moves_no_tensor(built: BuiltModel) -> None:
    before = built.artifact.read_bytes()
    set_chat_template(built.checkpoint, "{{ 'other' }}")
    assert built.quantizes() == set()
    header, after = read_header(built.artifact), built.artifact.read_bytes()
    assert header.value("tokenizer.chat_template") == "{{ 'other' }}"
    assert after[header.data :] == before[header.data :]


def test_after_an_edit_of_metadata_only_the_worker_reads_the_artifact(
    built: BuiltModel, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports the digest of the new file; that of the old file is in its manifest."""
    read = []

    def seen(path: Path) -> Digest:
        read.append(path.stat().st_size)
        return hash_file(path)

    monkeypatch.setattr("phibuild.store.store.hash_file", seen)
    monkeypatch.setattr("phibuild.store.index.hash_file", seen)
    size = built.artifact.stat().st_size
    set_chat_template(built.checkpoint, f"{{{{ 'read {seed}' }}}}")
    assert built.quantizes() == set()
    assert built.artifact.stat().st_size == size
    assert read
    assert size not in read


def test_pieces_of_a_damaged_file_are_quantized_again(built: BuiltModel, seed: int) -> None:
    header = read_header(built.artifact)
    whole = built.artifact.read_bytes()
    (kept,) = {
        path
        for path in (Workshop.open().store.root / "objects").rglob("*")
        if path.is_file() and path.stat().st_size == len(whole) and path.read_bytes() == whole
    }
    output = next(info for info in header.tensors if info.name == "output.weight")
    damaged = bytearray(whole)
    damaged[header.data + output.offset] ^= 1
    kept.chmod(0o644)
    kept.write_bytes(damaged)
    set_chat_template(built.checkpoint, f"{{{{ '{seed}' }}}}")
    assert len(built.quantizes()) == 15
    assert built.artifact.read_bytes()[header.data :] == whole[header.data :]
