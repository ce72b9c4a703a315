"""An edit of a checkpoint or a recipe quantizes the tensors that it touched: others are known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from phibuild_gguf.gguf_header import read_header

from phibuild.engine.workshop import Workshop
from phibuild.model.digest import Digest
from phibuild.store.index import hash_file
from phibuild.testing.checkpoint_edits import change_tensor, set_chat_template
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.slices import progress_of

pytestmark = pytest.mark.toolchain


@dataclasses.dataclass(frozen=True)
class Built:
    """A checkpoint, and where artifacts of it are put."""

    checkpoint: Path
    folder: Path

    def quantizes(self, **fields: Any) -> set[str]:
        """Make an artifact true, as a new process would; the tensors that were quantized."""
        heard = progress_of(
            "GGUF", {"quant": "Q4_K_M"} | fields, self.checkpoint, self.folder / "m.gguf"
        )
        return {text for text in heard if text.endswith((".weight", ".bias"))}

    @property
    def artifact(self) -> Path:
        return self.folder / "m.gguf"


@pytest.fixture
def built(tmp_path: Path, seed: int) -> Built:
    checkpoint = write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=2, seed=seed)
    one = Built(checkpoint, tmp_path)
    assert len(one.quantizes()) == 15
    return one


def test_a_changed_tensor_is_quantized_alone(built: Built) -> None:
    change_tensor(built.checkpoint, "model.layers.1.mlp.down_proj.weight")
    assert built.quantizes() == {"blk.1.ffn_down.weight"}


def test_an_override_quantizes_the_tensor_that_it_names(built: Built) -> None:
    overrides = {r"blk\.0\.ffn_up": "q8_0"}
    assert built.quantizes(overrides=overrides) == {"blk.0.ffn_up.weight"}


def test_another_file_type_quantizes_what_no_artifact_has(built: Built) -> None:
    before = {one.name: one.type for one in read_header(built.artifact).tensors}
    ran = built.quantizes(quant="Q4_K_S")
    after = {one.name: one.type for one in read_header(built.artifact).tensors}
    assert ran == {name for name in after if after[name] != before[name]}


def test_a_chat_template_moves_no_tensor(built: Built) -> None:
    before = built.artifact.read_bytes()
    set_chat_template(built.checkpoint, "{{ 'other' }}")
    assert built.quantizes() == set()
    header, after = read_header(built.artifact), built.artifact.read_bytes()
    assert header.value("tokenizer.chat_template") == "{{ 'other' }}"
    assert after[header.data :] == before[header.data :]


def test_after_an_edit_of_metadata_the_worker_alone_reads_the_artifact(
    built: Built, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells the digest of the new file, and what the old one is, its manifest says."""
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


def test_pieces_of_a_file_that_was_tampered_with_are_made_again(built: Built, seed: int) -> None:
    header = read_header(built.artifact)
    whole = built.artifact.read_bytes()
    (kept,) = {
        path
        for path in (Workshop.open().store.root / "objects").rglob("*")
        if path.is_file() and path.stat().st_size == len(whole) and path.read_bytes() == whole
    }
    one = next(one for one in header.tensors if one.name == "output.weight")
    damaged = bytearray(whole)
    damaged[header.data + one.offset] ^= 1
    kept.chmod(0o644)
    kept.write_bytes(damaged)
    set_chat_template(built.checkpoint, f"{{{{ '{seed}' }}}}")
    assert len(built.quantizes()) == 15
    assert built.artifact.read_bytes()[header.data :] == whole[header.data :]
