"""What each execution provider cannot run, and the fields that only one provider reads."""

from __future__ import annotations

from collections.abc import Iterator

from phibuild_onnx.recipe import OnnxRecipe

_ONE_PROVIDER = {
    "enable_dml_graph": "dml",
    "enable_cuda_graph": "cuda",
    "matmulnbits_weights_prepacked": "cuda",
    "enable_cuda_fpa_intb_gemm": "cuda",
    "use_paged_attention": "cuda",
    "use_cuda_bf16": "cuda",
    "enable_webgpu_graph": "webgpu",
    "use_webgpu_fp32": "webgpu",
}
_NO_CACHE = "builds a graph without its key and value outputs, which nothing loads"
_UNUSABLE = {
    ("fp32", "cuda"): _NO_CACHE,
    ("fp32", "dml"): _NO_CACHE,
    ("fp32", "NvTensorRtRtx"): _NO_CACHE,
    ("int8", "dml"): "builds, but the builder does not list it as a valid combination",
    ("int8", "NvTensorRtRtx"): "is not implemented",
}
"""Pairs of precision and provider that the builder accepts without a usable result; each was
tried."""
_USABLE = {
    "fp32": "use precision='fp16', or execution_provider='cpu' or 'webgpu'",
    "int8": "use precision='int4' or 'fp16', or execution_provider='cpu', 'cuda' or 'webgpu'",
}


def provider_problems(recipe: OnnxRecipe) -> Iterator[tuple[str, str]]:
    """Problems of the recipe with its execution provider, each with a hint."""
    precision, provider = recipe.precision, recipe.execution_provider
    problem = _UNUSABLE.get((precision, provider))
    if problem is not None:
        yield (
            f"precision={precision!r} with execution_provider={provider!r} {problem}",
            _USABLE[precision],
        )
    for name, only in _ONE_PROVIDER.items():
        if getattr(recipe, name) is not None and provider != only:
            yield (
                f"{name} is ignored with execution_provider={provider!r}",
                f"leave it out, or use execution_provider={only!r}",
            )
    if provider == "NvTensorRtRtx" and recipe.use_qdq is False:
        yield "use_qdq=False is overridden for NvTensorRtRtx", "leave use_qdq out"
    if provider == "NvTensorRtRtx" and recipe.algo_config not in (None, "default"):
        yield "NvTensorRtRtx needs use_qdq, which algo_config ignores", "leave algo_config out"
    if provider == "dml" and recipe.fuse_qkv is not None:
        yield "fuse_qkv is ignored with execution_provider='dml'", "leave fuse_qkv out"
    if recipe.use_cuda_bf16 is not None and precision != "int4":
        yield "use_cuda_bf16 requires precision='int4'", "leave it out"
    if recipe.use_webgpu_fp32 and precision == "fp16":
        yield "use_webgpu_fp32 turns precision='fp16' into fp32", "use precision='fp32'"
    if recipe.use_webgpu_fp32 is not None and precision == "fp32":
        yield "use_webgpu_fp32 is ignored with precision='fp32'", "leave it out"
