"""How many bytes a device leaves for a model: in its slot in flash, and in its memory.

Memory holds the weights, the KV cache, and the runtime's own. The KV cache has a key and a value of
each layer for each token of the context:

    2 x layers x KV heads x head size x context x bits / 8   bytes

as in any transformer with grouped queries (llama.cpp's `llama_kv_cache` allocates n_embd_k_gqa +
n_embd_v_gqa numbers a cell and layer). A sliding window may need less: this is the upper bound.
The runtime's overhead differs with version and batch size, so the user states it; README.md has
formulas for each runtime, and how they were measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phibuild.api import SizeLimit


def slot_limit(slot_size: int, page: int) -> SizeLimit:
    """The payload that fits a slot behind the descriptor's page."""
    reason = f"slot_size of {slot_size:,} bytes less a descriptor's page of {page:,}"
    return SizeLimit(slot_size - page, reason)


def memory_limit(
    budget: int, architecture: Mapping[str, Any], *, context: int, kv_bits: int, overhead: int
) -> SizeLimit:
    """The weights that fit memory beside KV cache and overhead."""
    cache = kv_cache_bytes(architecture, context, kv_bits)
    return SizeLimit(
        budget - cache - overhead,
        f"ram_budget of {budget:,} bytes less {cache:,} of KV cache for {context} tokens and"
        f" {overhead:,} of overhead",
    )


def kv_cache_bytes(architecture: Mapping[str, Any], context: int, bits: int) -> int:
    """Bytes of the KV cache, from the canonical fields of config.json."""
    heads = architecture["num_attention_heads"]
    kv_heads = architecture.get("num_key_value_heads") or heads
    head_size = architecture.get("head_dim") or architecture["hidden_size"] // heads
    numbers = 2 * architecture["num_hidden_layers"] * kv_heads * head_size
    return int(numbers * context * bits // 8)
