"""MLX: the cost of an edit; weights and sidecar together equal mlx-lm's own conversion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from phibuild.store import store_root
from phibuild.testing._checkpoints.families import FAMILIES
from phibuild.testing.checkpoint_edits import change_tensor, exchange_tensors
from phibuild.testing.checkpoints import write_checkpoint
from tests.backends.slices import (
    EditTable,
    artifact_of,
    build_families,
    files_of,
    progress_of,
    run_toolkit,
    same_tokenizer,
)

pytestmark = pytest.mark.toolchain


class TestMlxSlices(EditTable):
    backend = "mlx"
    shown_in: ClassVar = {
        "chat template": {"chat_template.jinja"},
        "ends of text": {"config.json", "generation_config.json"},
        "ids of config.json": {"config.json"},
        "sampling": {"generation_config.json"},
        "no generation_config.json": {"config.json", "generation_config.json"},
        "added token": {"tokenizer.json"},
        "merges": {"tokenizer.json"},
        "tokenizer respelt": set(),
        "one tensor": {"model.safetensors"},
    }


def test_a_tensor_that_an_artifact_has_is_reused(tmp_path: Path, seed: int) -> None:
    checkpoint = write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=2, seed=seed)
    artifact = tmp_path / "m-mlx"

    def last_progress() -> str:
        texts = progress_of("MLX", {"precision": "int4", "group_size": 64}, checkpoint, artifact)
        return [text for text in texts if text.startswith("tensors: ")][-1]

    assert last_progress() == "tensors: 35 computed, 0 reused of 35"
    before = files_of(artifact)["model.safetensors"].read_bytes()
    change_tensor(checkpoint, "model.layers.1.mlp.down_proj.weight")
    assert last_progress() == "tensors: 3 computed, 32 reused of 35"  # numbers, scales and offsets
    (stored,) = {
        path
        for path in (store_root() / "objects").rglob("*")
        if path.is_file() and path.stat().st_size == len(before) and path.read_bytes() == before
    }
    stored.unlink()
    change_tensor(checkpoint, "model.layers.1.mlp.down_proj.weight")
    assert last_progress() == "tensors: 3 computed, 32 reused of 35"
    assert files_of(artifact)["model.safetensors"].read_bytes() == before


BY_HAND = """
import sys
from mlx_lm.convert import convert
for source, out in zip(sys.argv[1::2], sys.argv[2::2]):
    convert(source, out, quantize=True, q_bits=4, q_group_size=64)
"""
MIXED_BY_HAND = """
import sys
from mlx_lm.convert import convert
convert(*sys.argv[1:], quantize=True, q_group_size=64, quant_predicate="mixed_3_6")
"""
COSMETIC = {"_from_model_config", "auto_map", "rope_scaling", "transformers_version", "use_cache"}
"""Fields without an effect; rope_scaling where it is null."""


def test_an_artifact_equals_mlx_lms_own_conversion(tmp_path: Path) -> None:
    project = build_families("mlx", tmp_path, list(FAMILIES))
    by_hand = {family: tmp_path / f"{family}-by-hand" for family in FAMILIES}
    run_toolkit(
        "mlx", BY_HAND, *(path for name in FAMILIES for path in (tmp_path / name, by_hand[name]))
    )
    for family in FAMILIES:
        ours, theirs = files_of(artifact_of(project, "mlx", family)), files_of(by_hand[family])
        cards = {name for name in theirs if name.endswith((".py", ".md"))}
        assert ours.keys() == theirs.keys() - cards
        for name in ours.keys() - {"tokenizer.json", "config.json", "generation_config.json"}:
            assert ours[name].read_bytes() == theirs[name].read_bytes(), (family, name)
        for name in ("config.json", "generation_config.json"):
            written, expected = (json.loads(files[name].read_bytes()) for files in (ours, theirs))
            left_out = {field for field in expected if field not in written}
            assert written == {field: expected[field] for field in written}, (family, name)
            assert left_out <= COSMETIC, (family, name)
        assert same_tokenizer(ours["tokenizer.json"], theirs["tokenizer.json"])


def test_scales_for_other_bits_are_not_reused(tmp_path: Path, seed: int) -> None:
    """Of eight layers, a mixed recipe gives the first down_proj six bits and the second three:
    their scales have the same shapes."""
    checkpoint = write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=8, seed=seed)
    artifact = tmp_path / "m-mlx"
    fields = {"quant_predicate": "mixed_3_6", "group_size": 64}
    progress_of("MLX", fields, checkpoint, artifact)
    exchange_tensors(
        checkpoint,
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.1.mlp.down_proj.weight",
    )
    texts = progress_of("MLX", fields, checkpoint, artifact)
    assert "tensors: 6 computed, " in [text for text in texts if text.startswith("tensors: ")][-1]
    run_toolkit("mlx", MIXED_BY_HAND, checkpoint, tmp_path / "by-hand")
    name = "model.safetensors"
    assert (artifact / name).read_bytes() == (tmp_path / "by-hand" / name).read_bytes()
