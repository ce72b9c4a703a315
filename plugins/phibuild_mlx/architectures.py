"""The Phi architectures that mlx-lm supports, and the config.json fields that it ignores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from phibuild.api import RecipeError

_NOT_SET = (None, False)

# Values that mlx-lm 0.31.3 assumes (mlx_lm/models/phi.py, phi3.py, phimoe.py). With another value
# the model does not load, or differs from the trained one.
_ASSUMED: Mapping[str, Mapping[str, tuple[Any, ...]]] = MappingProxyType(
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
    """RecipeError PHI204 for a model that mlx-lm cannot run, or runs differently from its training.

    `architecture` is config.json in the published spelling.
    """
    model_type = architecture["model_type"]
    if model_type not in _ASSUMED:
        raise _refusal(
            f"model_type {model_type!r} is not supported",
            hint="supported are phi (Phi-2), phi3 (Phi-3, Phi-3.5, Phi-4, Phi-4-mini) and phimoe"
            " (Phi-3.5-MoE)",
        )
    if "model_file" in architecture:
        raise _refusal(
            "config.json has model_file, which names Python code that mlx-lm would run",
            hint="remove the field, and use a checkpoint whose model mlx-lm supports itself",
        )
    for name in ("quantization", "quantization_config"):
        if name in architecture:
            raise _refusal(
                f"the checkpoint is already quantized: its config.json has {name}",
                hint="use the checkpoint before quantization",
            )
    for name, supported in _ASSUMED[model_type].items():
        value = architecture.get(name)
        if value not in supported:
            actual = "no such field" if value is None else repr(value)
            expected = ", ".join(repr(value) for value in supported if value is not None)
            raise _refusal(
                f"mlx-lm assumes {name} {expected or 'not set'} in {model_type} models, but"
                f" config.json has {actual}",
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
            f"mlx-lm divides hidden_size {hidden} among {heads} heads, but head_dim is {width} in"
            " config.json",
            hint="another backend may support it",
        )


def _check_rope(model_type: str, scaling: Any) -> None:
    if not scaling:
        if model_type == "phimoe":
            raise _refusal(
                "mlx-lm requires rope_scaling in the config.json of a phimoe model",
                hint="use config.json from the published checkpoint",
            )
        return
    kind = scaling.get("type")
    if kind not in _ROPE_TYPES[model_type]:
        raise _refusal(
            f"mlx-lm would ignore rope_scaling of type {kind!r}",
            hint=f"it supports {' and '.join(_ROPE_TYPES[model_type]) or 'none'} for {model_type}"
            " models",
        )
    missing = [name for name in _PHIMOE_ROPE_FIELDS if name not in scaling]
    if model_type == "phimoe" and missing:
        raise _refusal(
            f"mlx-lm requires {', '.join(missing)} in the rope_scaling of a phimoe model",
            hint="use config.json from the published checkpoint",
        )


def _refusal(problem: str, *, hint: str) -> RecipeError:
    return RecipeError(f"MLX: {problem}", hint=hint, code="PHI204")
