"""GGUF files, written byte by byte."""

from __future__ import annotations

import struct


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], number: int, offset: int) -> bytes:
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + sizes + struct.pack("<IQ", number, offset)


def gguf(
    entries: list[bytes], tensors: list[bytes], data: int, *, counts: tuple[int, int] | None = None
) -> bytes:
    """A GGUF file with `data` bytes of tensors, with other counts in its header if given."""
    tensor_count, entry_count = counts or (len(tensors), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", 3, tensor_count, entry_count)
    head += b"".join((*entries, *tensors))
    return head + bytes(-len(head) % 32) + bytes(data)


NAME = entry("general.name", 8, text("Phi\nof mine"))
TOKENS = entry("tokens", 9, struct.pack("<IQ", 8, 20) + b"".join(text(f"t{i}") for i in range(20)))
FACTOR = entry("factor", 6, struct.pack("<f", 1.25))
WEIGHT = tensor("blk.0.ffn_down.weight", (256, 4), 12, 0)
NORM = tensor("blk.0.attn_norm.weight", (256,), 0, 576)
SOUND = gguf([NAME, TOKENS, FACTOR], [WEIGHT, NORM], 576 + 1024)
