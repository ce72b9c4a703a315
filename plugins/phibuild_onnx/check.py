"""Refuses recipes that the pinned builder cannot build, changes silently, or builds without a
runnable result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from phibuild.api import FileInput, ModelFacts, RecipeError
from phibuild_onnx.architectures import check_architecture
from phibuild_onnx.providers import provider_problems
from phibuild_onnx.recipe import SCALES, OnnxRecipe

_INTEGERS = ("int4", "int8")
_LARGEST_HALF = 65504
_MIXED_SELECTORS = ("last_matmul", "mixed_layers")
_ONLY_QUANTIZED = (
    "block_size",
    "accuracy_level",
    "is_symmetric",
    "algo_config",
    "matmul_mixed_precision",
    "op_types_to_quantize",
    "nodes_to_exclude",
    "use_qdq",
    "matmulnbits_weights_prepacked",
    "enable_cuda_fpa_intb_gemm",
)
_ONLY_PAGED = (
    "paged_block_size",
    "paged_chunk_size",
    "max_batch_size",
    "max_scheduled_tokens",
    "num_blocks",
    "gpu_utilization_factor",
    "kv_cache_rotation",
)

Problems = Iterator[tuple[str, str]]
"""Problems, each with a hint. The user sees the first."""


def check(recipe: OnnxRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> None:
    """RecipeError PHI203 for a combination of fields, PHI204 for an architecture."""
    _refuse_first(
        chain(
            provider_problems(recipe),
            _ignored_fields(recipe),
            _mixed_precision_problems(recipe),
            _cache_problems(recipe, has_scales=SCALES in extras),
            _contradictions(recipe),
        )
    )
    if model.model_type:
        check_architecture(model)
        _refuse_first(chain(_model_problems(recipe, model), _overflows(recipe, model)))


def _refuse_first(problems: Problems) -> None:
    for problem, hint in problems:
        raise RecipeError(f"OnnxGenAI: {problem}", hint=hint, code="PHI203")


def _ignored_fields(recipe: OnnxRecipe) -> Problems:
    for name in ("exclude_embeds", "exclude_lm_head"):
        if getattr(recipe, name):
            yield f"an artifact with {name}=True cannot generate by itself", "leave it out"
    for name in _ONLY_QUANTIZED:
        if getattr(recipe, name) is not None and recipe.precision not in _INTEGERS:
            yield (
                f"{name} is ignored with precision={recipe.precision!r}",
                "leave it out, or use precision='int4' or 'int8'",
            )
    for name in _ONLY_PAGED:
        if getattr(recipe, name) is not None and not recipe.use_paged_attention:
            yield f"{name} is ignored without paged attention", "add use_paged_attention=True"


def _mixed_precision_problems(recipe: OnnxRecipe) -> Problems:
    for selector, precision in recipe.matmul_mixed_precision or ():
        if selector not in _MIXED_SELECTORS or precision not in _INTEGERS:
            yield (
                f"matmul_mixed_precision has {selector}: {precision}",
                f"the selectors are {', '.join(_MIXED_SELECTORS)},"
                f" the types {', '.join(_INTEGERS)}",
            )
        if precision == recipe.precision:
            yield (
                f"matmul_mixed_precision gives {selector} the type that it already has",
                "leave it out, or use the other type of int4 and int8",
            )


def _cache_problems(recipe: OnnxRecipe, *, has_scales: bool) -> Problems:
    scheme, provider = recipe.kv_cache_quant_scheme, recipe.execution_provider
    if scheme is None:
        if has_scales:
            yield (
                f"{SCALES} has no effect without kv_cache_quant_scheme",
                "add it or leave both out",
            )
        return
    if provider not in ("cpu", "cuda"):
        yield f"kv_cache_quant_scheme is not supported on {provider}", "use cpu or cuda"
    if provider == "cpu" and scheme.startswith("fp8"):
        yield "an fp8 cache is not supported on a cpu", "use int8 or int4"
    if scheme.endswith("per_token"):
        if not recipe.use_paged_attention:
            yield f"{scheme} requires paged attention", "add use_paged_attention=True, on cuda"
        if has_scales:
            yield f"{scheme} computes its own scales", f"leave {SCALES} out"
    elif not has_scales:
        yield (
            f"{scheme} requires measured scales",
            f'{SCALES}="kv_scales.json", which onnxruntime_genai\'s kv_cache_calibration writes',
        )
    if recipe.kv_cache_rotation is not None and scheme.endswith("per_channel"):
        yield "kv_cache_rotation mixes the channels", "use a per_tensor scheme"


def _contradictions(recipe: OnnxRecipe) -> Problems:
    """Fields that cancel each other, whatever the model."""
    op_types = recipe.op_types_to_quantize or ()
    mixed = dict(recipe.matmul_mixed_precision or ())
    if recipe.precision == "int8" and recipe.use_qdq:
        yield "use_qdq=True is not implemented for precision='int8'", "leave use_qdq out"
    if recipe.algo_config == "k_quant" and recipe.is_symmetric is not None:
        yield "is_symmetric is ignored with algo_config='k_quant'", "leave is_symmetric out"
    if recipe.use_qdq and recipe.algo_config not in (None, "default"):
        yield f"use_qdq is ignored with algo_config={recipe.algo_config!r}", "leave one of them out"
    if _writes_qdq(recipe):
        if recipe.accuracy_level is not None:
            yield "accuracy_level is ignored where MatMulNBits is not written", "leave it out"
        if mixed:
            yield "matmul_mixed_precision is not implemented with use_qdq", "leave one of them out"
        if "Gather" in op_types:
            yield "Gather is not implemented with use_qdq", "use op_types_to_quantize=['MatMul']"
    if recipe.num_blocks is not None and recipe.gpu_utilization_factor is not None:
        yield "num_blocks and gpu_utilization_factor are both given", "leave one of them out"
    if recipe.matmulnbits_weights_prepacked and recipe.enable_cuda_fpa_intb_gemm is not None:
        yield "enable_cuda_fpa_intb_gemm is ignored for prepacked weights", "leave it out"
    if recipe.op_types_to_quantize == ():
        yield "op_types_to_quantize is empty: nothing is quantized", "add MatMul, or leave it out"
    if recipe.precision == "int8" and "Gather" in op_types:
        yield "precision='int8' does not quantize Gather", "use op_types_to_quantize=['MatMul']"
    if "/lm_head/MatMul" in (recipe.nodes_to_exclude or ()) and "last_matmul" in mixed:
        yield "last_matmul is ignored where /lm_head/MatMul is excluded", "leave one of them out"


def _model_problems(recipe: OnnxRecipe, model: ModelFacts) -> Problems:
    """Fields that do not fit this model's graph."""
    if model.model_type == "phi" and recipe.fuse_mlp_gate_up is not None:
        yield "fuse_mlp_gate_up is ignored for phi, which has no gate", "leave it out"
    is_tied = bool(model.architecture.get("tie_word_embeddings"))
    if recipe.shared_embeddings is not None and not is_tied:
        yield "shared_embeddings: this model's head has weights of its own", "leave it out"
    if not is_tied or recipe.shared_embeddings is False or recipe.precision != "int4":
        return
    # The builder then shares one quantized matrix between the embedding and the head, which only
    # some of its methods write in the form that the embedding reads.
    if set(recipe.op_types_to_quantize or ()) not in ({"MatMul", "Gather"}, set()):
        yield (
            "op_types_to_quantize is overridden for a model with tied embeddings",
            "leave it out: both MatMul and Gather are quantized",
        )
    if _writes_qdq(recipe):
        yield (
            "use_qdq is not supported with tied embeddings",
            "leave it out, or use precision='fp16'",
        )
    if recipe.algo_config in (None, "default"):
        if recipe.is_symmetric is False:
            yield (
                "is_symmetric=False with tied embeddings builds a model that does not load",
                "add algo_config='rtn', or replace it by algo_config='k_quant'",
            )
        if "last_matmul" in dict(recipe.matmul_mixed_precision or ()):
            yield (
                "last_matmul with tied embeddings builds a model that does not load",
                "add algo_config='rtn' or 'k_quant'",
            )


def _overflows(recipe: OnnxRecipe, model: ModelFacts) -> Problems:
    """Weights beyond fp16's range, where scales and what is not quantized are fp16: everywhere but
    in fp32 artifacts and quantized ones for a cpu."""
    if recipe.precision == "fp32" or (
        recipe.precision in _INTEGERS and recipe.execution_provider == "cpu"
    ):
        return
    for tensor in model.tensors:
        if tensor.largest > _LARGEST_HALF:
            yield (
                f"{tensor.name} has the value {tensor.largest:g}, and fp16 ends at {_LARGEST_HALF}",
                "use precision='fp32', or execution_provider='cpu' with int4 or int8",
            )


def _writes_qdq(recipe: OnnxRecipe) -> bool:
    """Whether QuantizeLinear and DequantizeLinear replace MatMulNBits."""
    return recipe.precision == "int4" and (
        bool(recipe.use_qdq) or recipe.execution_provider == "NvTensorRtRtx"
    )
