"""What is read from a GGUF file; a damaged one is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from phibuild_gguf.describe import describe, describe_imatrix
from phibuild_gguf.format.block_fields import BLOCK_FIELDS

from phibuild.api import (
    PhiError,
    Tensor,
)
from tests.plugins.gguf_bytes import NAME, SOUND, WEIGHT, entry, gguf, tensor


def test_a_file_is_described_with_long_values_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(SOUND)
    description = describe(path)
    start = len(SOUND) - 576 - 1024
    assert description.format == "GGUF"
    assert description.tensors == (
        Tensor("blk.0.ffn_down.weight", "q4_K", (256, 4), 576, start, block=BLOCK_FIELDS["q4_K"]),
        Tensor("blk.0.attn_norm.weight", "f32", (256,), 1024, start + 576),
    )
    assert description.metadata == (
        ("general.name", "Phi\\nof mine"),
        ("tokens", "[t0, t1, t2, t3, t4, t5, t6, t7, ...] (20)"),
        ("factor", "1.25"),
    )
    assert describe_imatrix(path).format == "imatrix"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "does not begin"),
        (b"safetensors", "does not begin"),
        (SOUND[:10], "middle of its header"),
        (SOUND[:100], "has room"),
        (SOUND[:-1], "does not lie within"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
        (gguf([], [], 0, counts=(2**60, 0)), "tensors"),
        (gguf([], [], 0, counts=(0, 2**60)), "keys"),
        (gguf([entry("a", 77, b"")], [], 64), "unknown type 77"),
        (gguf([entry("a", 8, struct.pack("<Q", 2**63))], [], 64), "middle of its header"),
        (gguf([entry("a", 9, struct.pack("<IQ", 4, 2**62))], [], 64), "numbers"),
        (gguf([entry("a", 9, struct.pack("<IQ", 8, 2**62))], [], 64), "texts"),
        (gguf([entry("a", 9, struct.pack("<IQ", 9, 1))], [], 64), "array of the type 9"),
        (gguf([NAME, NAME], [], 64), "twice"),
        (gguf([], [WEIGHT, WEIGHT], 4096), "twice"),
        (gguf([], [tensor("w", (256,) * 5, 0, 0)], 64), "5 dimensions"),
        (gguf([], [tensor("w", (256,), 99, 0)], 64), "unknown type 99"),
        (gguf([], [tensor("w", (255,), 12, 0)], 1024), "rows of 255"),
        (gguf([], [tensor("w", (256, 2**50), 0, 0)], 1024), "does not lie within"),
        (gguf([], [tensor("w", (8,), 0, 7)], 1024), "does not lie within"),
        (gguf([entry("general.alignment", 4, struct.pack("<I", 0))], [], 64), "alignment"),
        (gguf([entry("general.alignment", 10, struct.pack("<Q", 2**62))], [], 64), "alignment"),
        (gguf([entry("general.alignment", 6, struct.pack("<f", 32))], [], 64), "alignment"),
        (gguf([entry(f"{n}", 7, b"\1") for n in range(70_000)], [], 0), "claims 70000 keys"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(PhiError, match=said) as caught:
        describe(path)
    assert caught.value.code == "PHI303"
    assert caught.value.hint


@pytest.mark.parametrize("length", range(4, len(SOUND), 13))
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(SOUND[:length])
    with pytest.raises(PhiError):
        describe(path)
