"""What the pinned builder cannot build, builds and cannot run, or silently changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from phibuild.api import FileInput, ModelFacts, RecipeError
from phibuild_onnx.architectures import check_architecture
from phibuild_onnx.recipe import PAGED_ONLY, PROVIDER_ONLY, QUANTIZATION, SCALES, OnnxRecipe

_SELECTORS = ("last_matmul", "mixed_layers")
_WIDTHS = ("int4", "int8")
_LARGEST_HALF = 65504

_FAILING = {
    ("fp32", "cuda"): "builds a graph without its key and value outputs, which nothing loads",
    ("fp32", "dml"): "builds a graph without its key and value outputs, which nothing loads",
    ("fp32", "NvTensorRtRtx"): "builds a graph without its key and value outputs, which nothing"
    " loads",
    ("int8", "dml"): "builds, and is not among the combinations that the builder calls valid",
    ("int8", "NvTensorRtRtx"): "is not implemented",
}
"""Pairs of precision and provider that the builder takes in vain; each was tried."""

_WAYS_OUT = {
    "fp32": "take precision='fp16', or execution_provider='cpu' or 'webgpu'",
    "int8": "take precision='int4' or 'fp16', or execution_provider='cpu', 'cuda' or 'webgpu'",
}


def check(recipe: OnnxRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> None:
    """RecipeError PHI203 for a combination, PHI204 for an architecture."""
    _check_precision(recipe)
    _check_fields(recipe)
    _check_mixed(recipe)
    _check_cache(recipe, SCALES in extras)
    for problem, way_out in _contradictions(recipe):
        raise _refused(problem, way_out)
    if model.model_type:
        check_architecture(model)
        for problem, way_out in _misfits(recipe, model):
            raise _refused(problem, way_out)
        _check_halves(recipe, model)


def _check_precision(recipe: OnnxRecipe) -> None:
    precision, provider = recipe.precision, recipe.execution_provider
    failing = _FAILING.get((precision, provider))
    if failing is not None:
        raise _refused(
            f"precision={precision!r} with execution_provider={provider!r} {failing}",
            _WAYS_OUT[precision],
        )
    if precision == "int8" and recipe.use_qdq:
        raise _refused("use_qdq=True is not implemented for precision='int8'", "leave use_qdq out")


def _check_fields(recipe: OnnxRecipe) -> None:
    for name in ("exclude_embeds", "exclude_lm_head"):
        if getattr(recipe, name):
            raise _refused(
                f"an artifact with {name}=True cannot generate by itself", "leave it out"
            )
    if recipe.precision not in _WIDTHS:
        for name in QUANTIZATION:
            if getattr(recipe, name) is not None:
                raise _refused(
                    f"{name} is ignored with precision={recipe.precision!r}",
                    "leave it out, or take precision='int4' or 'int8'",
                )
    for name, provider in PROVIDER_ONLY.items():
        if getattr(recipe, name) is not None and recipe.execution_provider != provider:
            raise _refused(
                f"{name} is ignored with execution_provider={recipe.execution_provider!r}",
                f"leave it out, or take execution_provider={provider!r}",
            )
    for name in PAGED_ONLY:
        if getattr(recipe, name) is not None and not recipe.use_paged_attention:
            raise _refused(f"{name} is ignored without paged attention", "use_paged_attention=True")
    if recipe.use_cuda_bf16 is not None and recipe.precision != "int4":
        raise _refused("use_cuda_bf16 needs precision='int4'", "leave it out")


def _check_mixed(recipe: OnnxRecipe) -> None:
    for selector, width in recipe.matmul_mixed_precision or ():
        if selector not in _SELECTORS or width not in _WIDTHS:
            raise _refused(
                f"matmul_mixed_precision has {selector}: {width}",
                f"the selectors are {', '.join(_SELECTORS)}, the types {', '.join(_WIDTHS)}",
            )
        if width == recipe.precision:
            raise _refused(
                f"matmul_mixed_precision gives {selector} the type that it has",
                "leave it out, or take the other one of int4 and int8",
            )


def _check_cache(recipe: OnnxRecipe, has_scales: bool) -> None:
    scheme, provider = recipe.kv_cache_quant_scheme or "", recipe.execution_provider
    is_dynamic = scheme.endswith("per_token")
    if not scheme and has_scales:
        raise _refused(f"{SCALES} is for a kv_cache_quant_scheme", "add one, or leave it out")
    if not scheme:
        return
    if provider not in ("cpu", "cuda"):
        raise _refused(f"kv_cache_quant_scheme is not for {provider}", "take cpu or cuda")
    if provider == "cpu" and scheme.startswith("fp8"):
        raise _refused("there is no kernel for an fp8 cache on a cpu", "take int8 or int4")
    if is_dynamic and not recipe.use_paged_attention:
        raise _refused(f"{scheme} needs paged attention", "use_paged_attention=True, on cuda")
    if is_dynamic and has_scales:
        raise _refused(f"{scheme} finds its scales itself", f"leave {SCALES} out")
    if not is_dynamic and not has_scales:
        raise _refused(
            f"{scheme} needs scales that were measured",
            f'{SCALES}="kv_scales.json", which onnxruntime_genai\'s kv_cache_calibration writes',
        )
    if recipe.kv_cache_rotation is not None and scheme.endswith("per_channel"):
        raise _refused("kv_cache_rotation mixes the channels", "take a per_tensor scheme")


def _contradictions(recipe: OnnxRecipe) -> Iterator[tuple[str, str]]:
    """Fields that cancel each other, whatever the model: a problem and the way out of it."""
    provider = recipe.execution_provider
    plain = recipe.algo_config in (None, "default")
    if recipe.algo_config == "k_quant" and recipe.is_symmetric is not None:
        yield "is_symmetric is ignored with algo_config='k_quant'", "leave is_symmetric out"
    if recipe.use_qdq and not plain:
        yield f"use_qdq is ignored with algo_config={recipe.algo_config!r}", "leave one of them out"
    if _writes_qdq(recipe) and recipe.accuracy_level is not None:
        yield "accuracy_level is ignored where MatMulNBits is not written", "leave it out"
    if _writes_qdq(recipe) and recipe.matmul_mixed_precision:
        yield "matmul_mixed_precision is not implemented with use_qdq", "leave one of them out"
    if _writes_qdq(recipe) and "Gather" in (recipe.op_types_to_quantize or ()):
        yield "Gather is not implemented with use_qdq", "take op_types_to_quantize=['MatMul']"
    if provider == "NvTensorRtRtx" and recipe.use_qdq is False:
        yield "use_qdq=False is overridden for NvTensorRtRtx", "leave use_qdq out"
    if provider == "NvTensorRtRtx" and not plain:
        yield "NvTensorRtRtx needs use_qdq, which algo_config ignores", "leave algo_config out"
    if provider == "dml" and recipe.fuse_qkv is not None:
        yield "fuse_qkv is ignored with execution_provider='dml'", "leave fuse_qkv out"
    if recipe.num_blocks is not None and recipe.gpu_utilization_factor is not None:
        yield "num_blocks and gpu_utilization_factor are both given", "leave one of them out"
    if recipe.matmulnbits_weights_prepacked and recipe.enable_cuda_fpa_intb_gemm is not None:
        yield "enable_cuda_fpa_intb_gemm is ignored for prepacked weights", "leave it out"
    if recipe.op_types_to_quantize == ():
        yield "op_types_to_quantize is empty: nothing is quantized", "name MatMul, or leave it out"
    if recipe.precision == "int8" and "Gather" in (recipe.op_types_to_quantize or ()):
        yield "Gather stays as it is with precision='int8'", "take op_types_to_quantize=['MatMul']"
    if recipe.precision == "fp16" and recipe.use_webgpu_fp32:
        yield "use_webgpu_fp32 makes precision='fp16' fp32", "take precision='fp32'"
    if recipe.precision == "fp32" and recipe.use_webgpu_fp32 is not None:
        yield "use_webgpu_fp32 is ignored with precision='fp32'", "leave it out"
    head_excluded = "/lm_head/MatMul" in (recipe.nodes_to_exclude or ())
    if head_excluded and "last_matmul" in dict(recipe.matmul_mixed_precision or ()):
        yield "last_matmul is ignored where /lm_head/MatMul is excluded", "leave one of them out"


def _misfits(recipe: OnnxRecipe, model: ModelFacts) -> Iterator[tuple[str, str]]:
    """Fields that this model's graph has no place for: a problem and the way out of it."""
    if model.model_type == "phi" and recipe.fuse_mlp_gate_up is not None:
        yield "fuse_mlp_gate_up is ignored for phi, which has no gate", "leave it out"
    is_tied = bool(model.architecture.get("tie_word_embeddings"))
    if recipe.shared_embeddings is not None and not is_tied:
        yield "shared_embeddings: this model's head has weights of its own", "leave it out"
    if not is_tied or recipe.shared_embeddings is False or recipe.precision != "int4":
        return
    # The builder then shares one quantized matrix between the embedding and the head, which only
    # some of its methods write in the form that the embedding reads.
    op_types = recipe.op_types_to_quantize
    if op_types is not None and set(op_types) != {"MatMul", "Gather"}:
        yield (
            "op_types_to_quantize is overridden for a model with tied embeddings",
            "leave it out: both MatMul and Gather are quantized",
        )
    if _writes_qdq(recipe):
        yield "use_qdq cannot be had with tied embeddings", "leave it out, or take precision='fp16'"
    if recipe.algo_config in (None, "default"):
        for given, field in (
            (recipe.is_symmetric is False, "is_symmetric=False"),
            ("last_matmul" in dict(recipe.matmul_mixed_precision or ()), "last_matmul"),
        ):
            if given:
                yield (
                    f"{field} with tied embeddings builds, and does not load",
                    "take algo_config='rtn' or 'k_quant' with it"
                    if field == "last_matmul"
                    else "take algo_config='rtn' with it, or 'k_quant' in its place",
                )


def _check_halves(recipe: OnnxRecipe, model: ModelFacts) -> None:
    """Everything that is not quantized is fp16, and so are scales, but for fp32 and for integers on
    a cpu."""
    if recipe.precision == "fp32" or (
        recipe.precision in _WIDTHS and recipe.execution_provider == "cpu"
    ):
        return
    for tensor in model.tensors:
        if tensor.largest > _LARGEST_HALF:
            raise _refused(
                f"{tensor.name} has the value {tensor.largest:g}, and fp16 ends at {_LARGEST_HALF}",
                "take precision='fp32', or execution_provider='cpu' with int4 or int8",
            )


def _writes_qdq(recipe: OnnxRecipe) -> bool:
    """Whether QuantizeLinear and DequantizeLinear take the place of MatMulNBits."""
    return recipe.precision == "int4" and (
        bool(recipe.use_qdq) or recipe.execution_provider == "NvTensorRtRtx"
    )


def _refused(problem: str, way_out: str) -> RecipeError:
    return RecipeError(f"OnnxGenAI: {problem}", hint=way_out, code="PHI203")
