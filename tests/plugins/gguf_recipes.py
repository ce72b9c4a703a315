"""Recipes and models for the tests of the GGUF backend."""

from __future__ import annotations

import json
from typing import Any

from phibuild_gguf.recipe import GgufRecipe, ImatrixRecipe

from phibuild.api import (
    Action,
    FileInput,
    ModelFacts,
    Tensor,
    parse_recipe,
)

UNKNOWN_MODEL = ModelFacts({}, ())
IMATRIX = {"imatrix": FileInput("imatrix.gguf")}
TEXT = {"text": FileInput("calibration.txt")}


def recipe(**fields: Any) -> GgufRecipe:
    return parse_recipe(GgufRecipe, fields, builder="GGUF")


def imatrix_recipe(**fields: Any) -> ImatrixRecipe:
    return parse_recipe(ImatrixRecipe, fields, builder="Imatrix")


def fields_of(action: Action) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in action.recipe}


def a_model(
    model_type: str = "phi3", *, widths: tuple[int, ...] = (), **changes: Any
) -> ModelFacts:
    """A model with 4 heads of 64; `widths` are those of its tensors' rows."""
    fields: dict[str, Any] = {
        "model_type": model_type,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "max_position_embeddings": 4096,
    }
    if model_type == "phimoe":
        fields |= {"attention_bias": True, "lm_head_bias": True}
    tensors = tuple(
        Tensor(f"layer.{index}.weight", "BF16", (8, width), 16 * width)
        for index, width in enumerate(widths)
    )
    return ModelFacts(fields | changes, tensors)
