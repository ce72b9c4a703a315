"""What the pinned builder cannot build, builds and cannot run, or silently changes."""

from __future__ import annotations

from collections.abc import Mapping

from phibuild.api import FileInput, ModelFacts, RecipeError
from phibuild_onnx.recipe import PROVIDER_ONLY, QUANTIZATION, OnnxRecipe

_SUPPORTED = {"phi": "PhiForCausalLM", "phi3": "Phi3ForCausalLM"}
_SELECTORS = ("last_matmul", "mixed_layers")
_WIDTHS = ("int4", "int8")


def check(recipe: OnnxRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> None:
    """RecipeError PHI203 for a combination, PHI204 for an architecture."""
    _check_precision(recipe)
    _check_fields(recipe)
    _check_mixed(recipe)
    if model.model_type:
        _check_model(model)


def _check_precision(recipe: OnnxRecipe) -> None:
    if recipe.precision == "fp16" and recipe.execution_provider == "cpu":
        raise _refused(
            "precision='fp16' with execution_provider='cpu' builds, and fails at the second token",
            "take precision='fp32' or 'int8' for cpu, or execution_provider='cuda' or 'webgpu'",
        )
    if recipe.precision == "int8" and recipe.execution_provider == "NvTensorRtRtx":
        raise _refused(
            "precision='int8' is not implemented for execution_provider='NvTensorRtRtx'",
            "take precision='int4' or 'fp16'",
        )
    if recipe.precision == "int8" and recipe.use_qdq:
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


def _check_model(model: ModelFacts) -> None:
    if model.model_type not in _SUPPORTED:
        raise RecipeError(
            f"OnnxGenAI: the pinned builder cannot make an artifact of model_type"
            f" {model.model_type!r}",
            hint=f"it makes {', '.join(sorted(_SUPPORTED))}; GGUF, OpenVINO and MLX make phimoe",
            code="PHI204",
        )
    architectures = model.architecture.get("architectures", [])
    if architectures and architectures[0] != _SUPPORTED[model.model_type]:
        raise RecipeError(
            f"OnnxGenAI: the pinned builder does not know the architecture {architectures[0]!r}",
            hint=f"for {model.model_type} it makes {_SUPPORTED[model.model_type]}",
            code="PHI204",
        )


def _refused(problem: str, way_out: str) -> RecipeError:
    return RecipeError(f"OnnxGenAI: {problem}", hint=way_out, code="PHI203")
