"""The Phi architectures that Optimum's exporter and NNCF support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phibuild.api import RecipeError
from phibuild_openvino.recipe import OpenVinoRecipe

_SUPPORTED = ("phi", "phi3", "phimoe")
_ACTIVATIONS = (
    *("gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh", "quick_gelu"),
    *("relu", "relu2", "relu6", "silu", "swish", "tanh"),
)
"""Those of transformers that have no parameters."""


def check_architecture(recipe: OpenVinoRecipe, architecture: Mapping[str, Any]) -> None:
    """RecipeError PHI204 for a model that cannot be exported, or not with this recipe.

    `architecture` is config.json in the published spelling.
    """
    model_type = architecture["model_type"]
    if model_type not in _SUPPORTED:
        raise _refusal(
            f"model_type {model_type!r} is not supported",
            hint="supported are phi (Phi-2), phi3 (Phi-3, Phi-3.5, Phi-4, Phi-4-mini) and phimoe"
            " (Phi-3.5-MoE)",
        )
    if "quantization_config" in architecture:
        raise _refusal(
            "the checkpoint is already quantized: its config.json has quantization_config",
            hint="use the checkpoint before quantization",
        )
    activation = architecture.get("hidden_act")
    if activation is not None and activation not in _ACTIVATIONS:
        raise _refusal(
            f"hidden_act {activation!r} is not supported",
            hint=f"supported are {', '.join(_ACTIVATIONS)}",
        )
    heads = architecture.get("num_attention_heads")
    if model_type == "phi" and architecture.get("num_key_value_heads", heads) != heads:
        raise _refusal(
            "keys that queries share are not supported for phi",
            hint="Optimum exports Phi-2 with as many key heads as heads: use ONNX or MLX",
        )
    _check_nncf(recipe, model_type)


def _check_nncf(recipe: OpenVinoRecipe, model_type: str) -> None:
    """Refuses methods that NNCF 3.4.0 skips or fails at in an architecture's layers."""
    if recipe.awq and model_type == "phi":
        raise _refusal(
            "awq=True would silently be skipped for Phi-2",
            hint="NNCF finds none of its patterns in Phi-2's layers: leave awq out",
        )
    if recipe.lora_correction and model_type == "phimoe":
        raise _refusal(
            "lora_correction=True is not supported for a mixture of experts",
            hint="NNCF fails at weights that hold several experts: use scale_estimation or awq",
        )
    if recipe.gptq and not recipe.sym and model_type == "phimoe":
        raise _refusal(
            "gptq=True is not supported for a mixture of experts without sym=True",
            hint="NNCF fails at the zero points of several experts: add sym=True, or use"
            " scale_estimation",
        )


def _refusal(problem: str, *, hint: str) -> RecipeError:
    return RecipeError(f"OpenVINO: {problem}", hint=hint, code="PHI204")
