"""Which models the pinned builder makes a right graph of; what others come to was tried."""

from __future__ import annotations

from phibuild.api import ModelFacts, RecipeError

_SUPPORTED = {"phi": "PhiForCausalLM", "phi3": "Phi3ForCausalLM"}
_ACTIVATIONS = (
    *("gelu", "gelu_fast", "gelu_new", "gelu_pytorch_tanh"),
    *("relu", "relu2", "silu", "swish"),
)
_CONTEXT_OF_PHI3 = 4096  # transformers' default of original_max_position_embeddings
_VOCABULARY = ("model.embed_tokens.weight", "lm_head.weight")


def check_architecture(model: ModelFacts) -> None:
    """RecipeError PHI204 for a model that the builder refuses, or makes another model of."""
    fields = model.architecture
    if model.model_type not in _SUPPORTED:
        raise _refused(
            f"cannot make an artifact of model_type {model.model_type!r}",
            f"it makes {', '.join(sorted(_SUPPORTED))}; GGUF, OpenVINO and MLX make phimoe",
        )
    architectures = fields.get("architectures", [])
    if architectures and architectures[0] != _SUPPORTED[model.model_type]:
        raise _refused(
            f"does not know the architecture {architectures[0]!r}",
            f"for {model.model_type} it makes {_SUPPORTED[model.model_type]}",
        )
    if fields.get("quantization_config"):
        raise _refused(
            "keeps the weights of a quantized checkpoint as they are, whatever the precision",
            "take the checkpoint that is not quantized",
        )
    if fields.get("qk_layernorm"):
        raise _refused(
            "leaves out the norms of query and key that qk_layernorm asks for",
            "use another backend for this model",
        )
    activation = fields.get("hidden_act")
    if activation is not None and activation not in _ACTIVATIONS:
        raise _refused(f"has no activation {activation!r}", f"it has {', '.join(_ACTIVATIONS)}")
    _check_rope(model)
    _check_vocabulary(model)


def _check_rope(model: ModelFacts) -> None:
    """Longrope is told by its type in one place of the builder, and by the context in another."""
    fields = model.architecture
    scaling = fields.get("rope_scaling") or {}
    kind = scaling.get("type") or scaling.get("rope_type") or "default"
    if model.model_type == "phi":
        if kind not in ("default", "linear", "yarn"):
            raise _refused(f"has no {kind} rope for phi", "use another backend for this model")
        return
    context = fields.get("max_position_embeddings")
    original = fields.get("original_max_position_embeddings", _CONTEXT_OF_PHI3)
    if context is not None and (kind == "longrope") != (context != original):
        raise _refused(
            f"cannot make {kind} rope with max_position_embeddings {context} of an original"
            f" {original}",
            "longrope needs them different, every other rope needs them equal",
        )


def _check_vocabulary(model: ModelFacts) -> None:
    """The builder takes every matrix with as many rows as the vocabulary for the head."""
    rows = model.architecture.get("vocab_size")
    for tensor in model.tensors:
        if tensor.name in _VOCABULARY or len(tensor.shape) != 2 or tensor.shape[0] != rows:
            continue
        raise _refused(
            f"takes {tensor.name} for the head: it has as many rows as the vocabulary, {rows}",
            "pad the vocabulary by a few rows, or use another backend for this model",
        )


def _refused(problem: str, way_out: str) -> RecipeError:
    return RecipeError(f"OnnxGenAI: the pinned builder {problem}", hint=way_out, code="PHI204")
