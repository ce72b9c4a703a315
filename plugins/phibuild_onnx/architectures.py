"""The models for which the pinned builder writes a correct graph; each refusal was tried."""

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
    """RecipeError PHI204 for a model that the builder refuses, or turns into a different model."""
    fields = model.architecture
    if model.model_type not in _SUPPORTED:
        raise _refused(
            f"does not support model_type {model.model_type!r}",
            f"it supports {', '.join(sorted(_SUPPORTED))}; for phimoe use GGUF, OpenVINO or MLX",
        )
    architectures = fields.get("architectures", [])
    if architectures and architectures[0] != _SUPPORTED[model.model_type]:
        raise _refused(
            f"does not support the architecture {architectures[0]!r}",
            f"for {model.model_type} it supports {_SUPPORTED[model.model_type]}",
        )
    if fields.get("quantization_config"):
        raise _refused(
            "keeps the weights of a quantized checkpoint, whatever the precision",
            "use the checkpoint before quantization",
        )
    if fields.get("qk_layernorm"):
        raise _refused(
            "leaves out the norms of query and key that qk_layernorm turns on",
            "use another backend for this model",
        )
    activation = fields.get("hidden_act")
    if activation is not None and activation not in _ACTIVATIONS:
        raise _refused(
            f"does not support hidden_act {activation!r}",
            f"it supports {', '.join(_ACTIVATIONS)}",
        )
    _check_rope(model)
    _check_vocabulary(model)


def _check_rope(model: ModelFacts) -> None:
    """One part of the builder detects longrope by its type, another by the context's length."""
    fields = model.architecture
    scaling = fields.get("rope_scaling") or {}
    kind = scaling.get("type") or scaling.get("rope_type") or "default"
    if model.model_type == "phi":
        if kind not in ("default", "linear", "yarn"):
            raise _refused(
                f"does not support {kind} rope for phi", "use another backend for this model"
            )
        return
    context = fields.get("max_position_embeddings")
    original = fields.get("original_max_position_embeddings", _CONTEXT_OF_PHI3)
    if context is not None and (kind == "longrope") != (context != original):
        raise _refused(
            f"does not support {kind} rope with max_position_embeddings {context} and"
            f" original_max_position_embeddings {original}",
            "they must differ for longrope, and be equal for every other rope",
        )


def _check_vocabulary(model: ModelFacts) -> None:
    """The builder treats every matrix with as many rows as the vocabulary as the head."""
    rows = model.architecture.get("vocab_size")
    for tensor in model.tensors:
        if tensor.name in _VOCABULARY or len(tensor.shape) != 2 or tensor.shape[0] != rows:
            continue
        raise _refused(
            f"would use {tensor.name} as the head: it has as many rows as the vocabulary, {rows}",
            "pad the vocabulary by a few rows, or use another backend for this model",
        )


def _refused(problem: str, hint: str) -> RecipeError:
    return RecipeError(f"OnnxGenAI: the pinned builder {problem}", hint=hint, code="PHI204")
