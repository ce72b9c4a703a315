"""The models that llama.cpp runs correctly, by their config.json.

The pinned converter ignores some fields: a model that needs them is converted without a warning,
and then fails to load or computes something else. They are refused here by name. Sources:
conversion/phi.py, src/models/{phi2,phi3,phimoe}.cpp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from phibuild.api import ModelFacts, RecipeError

_Architecture = Mapping[str, Any]


def check_architecture(model: ModelFacts, builder: str) -> None:
    """RecipeError PHI204 for a model that llama.cpp does not run correctly. A model that does not
    exist yet is accepted."""
    if not model.architecture:
        return
    if model.model_type not in _RULES:
        raise RecipeError(
            f"{builder}: the model type {model.model_type!r} is not supported",
            hint=f"supported are {', '.join(_RULES)}",
            code="PHI204",
        )
    class_name, rules = _RULES[model.model_type]
    for given in model.architecture.get("architectures", [class_name]):
        if given != class_name:
            raise _refusal(builder, f"architectures is {given}", class_name)
    for rule in (_unquantized, _rotary, *rules):
        rule(model.architecture, builder)


def _refusal(builder: str, reason: str, requirement: str) -> RecipeError:
    return RecipeError(
        f"{builder}: llama.cpp does not run this model correctly: {reason} in its config.json",
        hint=f"llama.cpp requires {requirement}; build another format of this model",
        code="PHI204",
    )


def _only(name: str, default: Any, *possible: Any) -> Callable[[_Architecture, str], None]:
    def rule(architecture: _Architecture, builder: str) -> None:
        value = architecture.get(name, default)
        if value not in possible:
            supported = " or ".join(map(str, possible))
            raise _refusal(
                builder, f"{name} is {value}", f"{supported} for {architecture['model_type']}"
            )

    return rule


def _unquantized(architecture: _Architecture, builder: str) -> None:
    if "quantization_config" in architecture:
        raise RecipeError(
            f"{builder}: the checkpoint is already quantized: its config.json has a"
            " quantization_config",
            hint="use the checkpoint before quantization",
            code="PHI204",
        )


def _rotary(architecture: _Architecture, builder: str) -> None:
    width, heads = architecture.get("hidden_size"), architecture.get("num_attention_heads")
    if not width or not heads:
        return
    if width % heads:
        raise _refusal(builder, f"{heads} heads do not divide hidden_size {width}", "that they do")
    if architecture.get("head_dim", width // heads) != width // heads:
        raise _refusal(builder, f"head_dim is not {width // heads}", "hidden_size / heads")
    rotated = _rotated(architecture)
    if rotated % 2:
        raise _refusal(builder, f"{rotated} dimensions of a head are rotated", "an even number")


def _rotated(architecture: _Architecture) -> int:
    share = architecture.get("partial_rotary_factor", _ROTARY[architecture["model_type"]])
    return int(share * architecture["hidden_size"]) // int(architecture["num_attention_heads"])


def _longrope_only(architecture: _Architecture, builder: str) -> None:
    scaling = architecture.get("rope_scaling")
    if not scaling:
        return
    if scaling.get("type") != "longrope":
        raise _refusal(builder, f"rope_scaling has the type {scaling.get('type')}", "longrope")
    if not architecture.get("hidden_size") or not architecture.get("num_attention_heads"):
        return
    needed = _rotated(architecture) // 2
    for name in ("long_factor", "short_factor"):
        if len(scaling.get(name, ())) != needed:
            raise _refusal(
                builder,
                f"rope_scaling has {len(scaling.get(name, ()))} numbers in {name}",
                f"{needed}, one for two rotated dimensions of a head",
            )


def _feed_forward_width(architecture: _Architecture, builder: str) -> None:
    width, inner = architecture.get("hidden_size"), architecture.get("intermediate_size")
    if width and inner and inner != 4 * width:
        raise _refusal(builder, f"intermediate_size is {inner}", f"{4 * width} here")


def _key_heads(architecture: _Architecture, builder: str) -> None:
    heads = architecture.get("num_attention_heads")
    if architecture.get("num_key_value_heads", heads) != heads:
        raise _refusal(builder, "key heads are shared", "as many key heads as heads")


_ROTARY = {"phi": 0.5, "phi3": 1.0, "phimoe": 1.0}
_RULES: dict[str, tuple[str, tuple[Callable[[_Architecture, str], None], ...]]] = {
    "phi": (
        "PhiForCausalLM",
        (
            _feed_forward_width,
            _key_heads,
            _only("hidden_act", "gelu_new", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
            _only("qk_layernorm", False, False),
            _only("rope_scaling", None, None, {}),
            _only("rope_theta", 10000.0, 10000.0),
            _only("tie_word_embeddings", False, False),
        ),
    ),
    "phi3": (
        "Phi3ForCausalLM",
        (
            _longrope_only,
            _only("hidden_act", "silu", "silu"),
            _only("attention_bias", False, False),
            _only("mlp_bias", False, False),
            _only("lm_head_bias", False, False),
        ),
    ),
    "phimoe": (
        "PhiMoEForCausalLM",
        (
            _longrope_only,
            _only("hidden_act", "silu", "silu"),
            _only("attention_bias", False, True),
            _only("lm_head_bias", False, True),
            _only("num_experts_per_tok", 2, 2),  # Phi's router uses two, whatever the field says
            _only("tie_word_embeddings", False, False),
        ),
    ),
}
