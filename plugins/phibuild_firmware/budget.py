"""How much room a device leaves for a model: its slot in flash, and its memory.

In memory lie the weights, the KV cache, and what the runtime takes besides. The KV cache holds a
key and a value of each layer for each token of the context:

    2 x layers x KV heads x head size x context x bits / 8   bytes

as in any transformer with grouped queries (llama.cpp's `llama_kv_cache` allocates n_embd_k_gqa +
n_embd_v_gqa numbers a cell and layer). A sliding window may need less: this is the upper bound.
The overhead differs with runtime, version and batch size, so that the user states it; README.md has
formulas of what it was for each runtime, and how that was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phibuild.api import ArtifactFacts, Room
from phibuild_firmware.recipe import ImageRecipe


def room(recipe: ImageRecipe, about: ArtifactFacts) -> Room | None:
    """The lesser of what the slot and the memory leave for the model's bytes."""
    found = [one for one in (_slot_room(recipe), ram_room(recipe, about)) if one is not None]
    return min(found, key=lambda one: one.bytes) if found else None


def holds(recipe: ImageRecipe, size: int) -> int:
    """The largest payload of an image of this size."""
    return size - size % (recipe.erase_size or 1) - recipe.alignment


def ram_room(recipe: ImageRecipe, about: ArtifactFacts) -> Room | None:
    """What the memory leaves for weights; None while the model's architecture is not known."""
    if recipe.ram_budget is None or not about.model.architecture:
        return None
    assert recipe.context is not None  # the recipe refuses a budget without them
    assert recipe.ram_overhead is not None
    cache = kv_cache_bytes(about.model.architecture, recipe.context, recipe.kv_bits)
    return Room(
        recipe.ram_budget - cache - recipe.ram_overhead,
        f"ram_budget of {recipe.ram_budget:,} bytes less {cache:,} of KV cache for"
        f" {recipe.context} tokens and {recipe.ram_overhead:,} of overhead",
    )


def kv_cache_bytes(architecture: Mapping[str, Any], context: int, bits: int) -> int:
    """Bytes of the KV cache, from the canonical fields of config.json."""
    heads = architecture["num_attention_heads"]
    kv_heads = architecture.get("num_key_value_heads") or heads
    head_size = architecture.get("head_dim") or architecture["hidden_size"] // heads
    numbers = 2 * architecture["num_hidden_layers"] * kv_heads * head_size
    return int(numbers * context * bits // 8)


def _slot_room(recipe: ImageRecipe) -> Room | None:
    if recipe.slot_size is None:
        return None
    return Room(
        recipe.slot_size - recipe.alignment,
        f"slot_size of {recipe.slot_size:,} bytes less a descriptor's page of {recipe.alignment:,}",
    )
