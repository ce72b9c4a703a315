"""The metadata of a GGUF file as actions of their own: an edited chat template costs a header.

What the tokenizer and the architecture decide is made by llama.cpp's converter, which takes
seconds to start. What the chat template, generation settings and recipe decide is added without it.
"""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

from phibuild.api import Action, ModelFacts, Step, frozen_recipe
from phibuild_gguf.recipe import GgufRecipe, ImatrixRecipe

_HERE = Path(__file__).parent
_EXPERT = re.compile(r"\.experts\.(\d+)\.")
_UNITS = (("T", 1e12, 1e-12), ("B", 1e9, 1e-9), ("M", 1e6, 1e-6), ("K", 0, 1e-3))
_NOT_CONVERTED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


def metadata_action(recipe: GgufRecipe | ImatrixRecipe, model: ModelFacts) -> Step:
    """A GGUF file without tensors, with the keys, types and order of llama.cpp's converter but for
    `general.file_type` and `general.quantization_version`, which belong to the types of tensors."""
    vocabulary = Action(
        name="gguf.vocabulary",
        worker=_HERE / "worker_vocabulary.py",
        toolchain="gguf",
        tools=("llama.cpp",),
        recipe=frozen_recipe({"pre_tokenizer": recipe.pre_tokenizer}),
        slices=("architecture", "tokenizer"),
    )
    fields = {"model_name": recipe.model_name, "size_label": size_label(model)}
    return Action(
        name="gguf.metadata",
        worker=_HERE / "worker_metadata.py",
        toolchain="host",
        recipe=frozen_recipe(fields),
        slices=("architecture", "chat_template", "generation"),
        inputs=(("vocabulary", vocabulary),),
    )


def size_label(model: ModelFacts) -> str | None:
    """`general.size_label`, such as 3.8B or 16x3.8B, as llama.cpp's converter counts: one expert
    beside the shared weights, and longrope's factors as tensors. None for an unknown model."""
    if not model.tensors:
        return None
    sizes = {
        tensor.name: prod(tensor.shape)
        for tensor in model.tensors
        if not tensor.name.endswith(_NOT_CONVERTED)
    }
    expert_of = {name: found[1] for name in sizes if (found := _EXPERT.search(name))}
    scaling = model.architecture.get("rope_scaling") or {}
    factors = sum(len(scaling.get(name, ())) for name in ("long_factor", "short_factor"))
    experts = len(set(expert_of.values()))
    in_experts = sum(sizes[name] for name in expert_of)
    shared = sum(sizes.values()) - in_experts + factors
    return f"{experts}x{_rounded(shared + in_experts // experts)}" if experts else _rounded(shared)


def _rounded(parameters: int) -> str:
    """Two digits at least, the unit behind them."""
    unit, scale = next((unit, scale) for unit, limit, scale in _UNITS if parameters > limit)
    scaled = parameters * scale
    return f"{scaled:.{0 if round(scaled) >= 10 else 1}f}{unit}"
