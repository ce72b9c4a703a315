"""The Phi architectures as mlx-lm knows them, and the fields of config.json that it passes over."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from phibuild.api import RecipeError

_NOT_SET = (None, False)

# What mlx-lm 0.31.3 takes for granted (mlx_lm/models/phi.py, phi3.py, phimoe.py). Another value
# gives a model that differs from the one that was trained, or one that cannot be loaded.
_TAKEN_FOR_GRANTED: Mapping[str, Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "phi": {
            "hidden_act": (None, "gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
            "qk_layernorm": _NOT_SET,
            "rope_scaling": _NOT_SET,
            "tie_word_embeddings": _NOT_SET,
        },
        "phi3": {
            "attention_bias": _NOT_SET,
            "hidden_act": (None, "silu", "swish"),
            "lm_head_bias": _NOT_SET,
            "mlp_bias": _NOT_SET,
        },
        "phimoe": {
            "attention_bias": (True,),
            "hidden_act": (None, "silu", "swish"),
            "lm_head_bias": (True,),
            "num_experts_per_tok": (None, 2),
            "partial_rotary_factor": (None, 1.0),
            "tie_word_embeddings": _NOT_SET,
        },
    }
)
_ROPE_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"phi": (), "phi3": ("longrope", "linear"), "phimoe": ("longrope",)}
)
_PHIMOE_ROPE_FIELDS = ("long_factor", "long_mscale", "short_factor", "short_mscale")


def check_architecture(architecture: Mapping[str, Any]) -> None:
    """RecipeError PHI204 for a model that mlx-lm cannot run, or runs otherwise than it was trained.

    `architecture` is config.json in the published spelling.
    """
    model_type = architecture["model_type"]
    if model_type not in _TAKEN_FOR_GRANTED:
        raise _refusal(
            f"model_type {model_type!r} is not supported",
            hint="supported are phi (Phi-2), phi3 (Phi-3, Phi-3.5, Phi-4, Phi-4-mini) and phimoe"
            " (Phi-3.5-MoE)",
        )
    if "model_file" in architecture:
        raise _refusal(
            "config.json has model_file, which names Python code that mlx-lm would run",
            hint="remove the field, and take a checkpoint that mlx-lm knows by itself",
        )
    for name in ("quantization", "quantization_config"):
        if name in architecture:
            raise _refusal(
                f"the checkpoint is quantized already: its config.json has {name}",
                hint="take the checkpoint that it was made of",
            )
    for name, possible in _TAKEN_FOR_GRANTED[model_type].items():
        value = architecture.get(name)
        if value not in possible:
            shown = "no such field" if value is None else repr(value)
            wanted = ", ".join(repr(one) for one in possible if one is not None)
            raise _refusal(
                f"mlx-lm takes {model_type} models to have {name} {wanted or 'not set'},"
                f" and config.json has {shown}",
                hint="another backend may support it",
            )
    _check_heads(architecture)
    _check_rope(model_type, architecture.get("rope_scaling"))


def _check_heads(architecture: Mapping[str, Any]) -> None:
    hidden, heads = architecture.get("hidden_size"), architecture.get("num_attention_heads")
    if not hidden or not heads:
        return
    width = architecture.get("head_dim", hidden // heads)
    if hidden != width * heads:
        raise _refusal(
            f"mlx-lm divides hidden_size {hidden} among {heads} heads, and head_dim is {width} in"
            " config.json",
            hint="another backend may support it",
        )


def _check_rope(model_type: str, scaling: Any) -> None:
    if not scaling:
        if model_type == "phimoe":
            raise _refusal(
                "mlx-lm needs rope_scaling in the config.json of a phimoe model",
                hint="take config.json from the published checkpoint",
            )
        return
    kind = scaling.get("type")
    if kind not in _ROPE_TYPES[model_type]:
        raise _refusal(
            f"mlx-lm would leave out rope_scaling of type {kind!r}",
            hint=f"it knows {' and '.join(_ROPE_TYPES[model_type])} for {model_type} models",
        )
    missing = [name for name in _PHIMOE_ROPE_FIELDS if name not in scaling]
    if model_type == "phimoe" and missing:
        raise _refusal(
            f"mlx-lm needs {', '.join(missing)} in the rope_scaling of a phimoe model",
            hint="take config.json from the published checkpoint",
        )


def _refusal(problem: str, *, hint: str) -> RecipeError:
    return RecipeError(f"MLX: {problem}", hint=hint, code="PHI204")
