"""Checks the recipes of `env.GGUF` and `env.Imatrix` before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from phibuild.api import FileInput, ModelFacts, RecipeError
from phibuild_gguf.architectures import check_architecture
from phibuild_gguf.format.file_types import DEFAULT_TYPES, FLOATS, MIXED_ONLY, NEED_IMATRIX
from phibuild_gguf.format.types import BY_NAME, IGNORE_IMATRIX, TARGETS, GgmlType
from phibuild_gguf.format.types import NEED_IMATRIX as TYPES_THAT_NEED_IMATRIX
from phibuild_gguf.recipe import GgufRecipe, ImatrixRecipe

_QUANTIZED_ONLY = (
    "overrides",
    "output_tensor_type",
    "token_embedding_type",
    "pure",
    "leave_output_tensor",
    "include_weights",
    "exclude_weights",
    "outtype",
)
REPLACED_BY_TARGET = (
    "precision",
    "quant",
    "overrides",
    "pure",
    "output_tensor_type",
    "token_embedding_type",
    "leave_output_tensor",
    "split_max_size",
)
"""Fields that contradict `target_bytes`, which decides the type of each tensor, in one file."""
_IMATRIX = 'write imatrix=env.Imatrix("model.imatrix.gguf", model, text="calibration.txt")'
_LARGEST_HALF = 65504


def check(recipe: GgufRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> None:
    """RecipeError for what llama-quantize cannot build, or would build differently."""
    _check_exactly_one(recipe)
    if recipe.target_bytes is not None:
        _check_target(recipe, extras)
        check_architecture(model, "GGUF")
        _check_largest_weights(recipe, model)
        return
    if recipe.file_type in FLOATS:
        _check_float(recipe, extras)
    _check_imatrix_use(recipe, extras)
    for pattern, name in recipe.overrides or ():
        _check_pattern(pattern)
        target_type("overrides", name)
    _check_output_fields(recipe, model)
    check_architecture(model, "GGUF")
    _check_largest_weights(recipe, model)
    _check_block_sizes(recipe, model)
    if recipe.file_type == "MXFP4_MOE" and model.model_type not in ("", "phimoe"):
        raise _refusal(
            f"MXFP4_MOE is for models with experts; for {model.model_type} it would be Q8_0",
            'write quant="Q8_0", or quant="Q4_K_M" for four bits',
        )


def check_imatrix(
    recipe: ImatrixRecipe, model: ModelFacts, extras: Mapping[str, FileInput]
) -> None:
    """RecipeError for what llama-imatrix cannot do."""
    if "text" not in extras:
        raise RecipeError(
            "Imatrix: the text is missing",
            hint='write env.Imatrix(target, model, text="calibration.txt")',
            code="PHI203",
        )
    if recipe.precision is not None and recipe.quant is not None:
        raise _either_or("Imatrix")
    if recipe.file_type in NEED_IMATRIX:
        raise RecipeError(
            f"Imatrix: quant={recipe.file_type!r} itself needs an imatrix",
            hint="leave out quant, or use one with more bits, such as Q8_0",
            code="PHI203",
        )
    if recipe.ctx_size < 2048 and 2048 % recipe.ctx_size:
        raise RecipeError(
            f"Imatrix: chunks of ctx_size={recipe.ctx_size} do not fill a batch of 2048 tokens",
            hint="use a power of two, or more than 2048",
            code="PHI203",
        )
    context = model.architecture.get("max_position_embeddings")
    if context is not None and recipe.ctx_size > context:
        raise RecipeError(
            f"Imatrix: ctx_size={recipe.ctx_size} is more than the model's {context} tokens",
            hint=f"ctx_size must be at most {context}",
            code="PHI203",
        )
    check_architecture(model, "Imatrix")
    if recipe.file_type:
        check(GgufRecipe(quant=recipe.file_type, outtype=recipe.outtype), model, {})


def target_type(field: str, name: str) -> GgmlType:
    """The ggml type of that name, in any case; RecipeError PHI202 if tensors cannot have it."""
    kind = BY_NAME.get(name.lower())
    if kind is None or kind.name not in TARGETS:
        raise RecipeError(
            f"GGUF: {field}: the type {name!r} is not supported",
            hint=f"supported are {', '.join(TARGETS)}",
            code="PHI202",
        )
    return kind


def _refusal(reason: str, hint: str) -> RecipeError:
    return RecipeError(f"GGUF: {reason}", hint=hint, code="PHI203")


def _either_or(builder: str) -> RecipeError:
    return RecipeError(
        f"{builder}: precision and quant are both given",
        hint="precision stands for a quant: keep one of them",
        code="PHI203",
    )


def _check_target(recipe: GgufRecipe, extras: Mapping[str, FileInput]) -> None:
    for name in REPLACED_BY_TARGET:
        if getattr(recipe, name) is not None:
            raise _refusal(
                f"target_bytes and {name} contradict each other",
                "keep one: target_bytes chooses the type of each tensor, in one file",
            )
    _check_selected_weights(recipe, extras)


def _check_exactly_one(recipe: GgufRecipe) -> None:
    if recipe.precision is not None and recipe.quant is not None:
        raise _either_or("GGUF")
    if not recipe.file_type and recipe.target_bytes is None:
        raise _refusal(
            "neither precision nor quant nor target_bytes is given",
            'write precision="int4", a file type such as quant="Q4_K_M", or target_bytes="2 GB"',
        )


def _check_float(recipe: GgufRecipe, extras: Mapping[str, FileInput]) -> None:
    given = [name for name in _QUANTIZED_ONLY if getattr(recipe, name) is not None]
    given += [name for name in ("imatrix",) if name in extras]
    if given:
        raise _refusal(
            f"{recipe.file_type} is not quantized: {', '.join(given)} has no effect",
            f"leave out {given[0]}, or use a quantized file type",
        )


def _check_imatrix_use(recipe: GgufRecipe, extras: Mapping[str, FileInput]) -> None:
    name, pure = recipe.file_type, bool(recipe.pure)
    chosen = {target_type("overrides", kind).name for _, kind in recipe.overrides or ()}
    if "imatrix" not in extras:
        if name in NEED_IMATRIX and not (pure and name in MIXED_ONLY):
            raise _refusal(f"quant={name!r} needs an imatrix", _IMATRIX)
        if starved := sorted(chosen & TYPES_THAT_NEED_IMATRIX):
            raise _refusal(f"overrides: {starved[0]} needs an imatrix", _IMATRIX)
    elif not ({DEFAULT_TYPES[name], *chosen} - IGNORE_IMATRIX):
        raise _refusal(
            f"quant={name!r} ignores an imatrix", "leave out imatrix, or use another quant"
        )
    _check_selected_weights(recipe, extras)


def _check_selected_weights(recipe: GgufRecipe, extras: Mapping[str, FileInput]) -> None:
    if "imatrix" not in extras:
        for field in ("include_weights", "exclude_weights"):
            if getattr(recipe, field) is not None:
                raise _refusal(f"{field} has no effect without an imatrix", _IMATRIX)
    if recipe.include_weights is not None and recipe.exclude_weights is not None:
        raise _refusal("include_weights and exclude_weights are both given", "keep one of them")


def _check_pattern(pattern: str) -> None:
    """llama-quantize splits its list of overrides at blanks and `=`, and lowercases it."""
    if not pattern or re.search(r"[\s=A-Z]", pattern):
        raise RecipeError(
            f"GGUF: overrides: the pattern {pattern!r} is not supported by llama-quantize",
            hint=r"it must not be empty nor have blanks, = or capitals; it is searched for in names"
            r" such as blk.12.ffn_down.weight",
            code="PHI202",
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise RecipeError(
            f"GGUF: overrides: {pattern!r} is not a regular expression: {error}",
            hint=r"write \. for a dot, as in blk\.0\.attn_qkv",
            code="PHI202",
        ) from error


def _check_output_fields(recipe: GgufRecipe, model: ModelFacts) -> None:
    tied = bool(model.architecture.get("tie_word_embeddings"))
    output = "output_tensor_type" if recipe.output_tensor_type is not None else ""
    if recipe.leave_output_tensor:
        if output:
            raise _refusal(
                "leave_output_tensor and output_tensor_type contradict each other", "keep one"
            )
        if tied:
            raise _refusal(
                "leave_output_tensor has no effect: this model's output is its token embedding",
                'write token_embedding_type="f16" instead',
            )
    if output and tied and (recipe.pure or recipe.token_embedding_type is not None):
        raise _refusal(
            "output_tensor_type has no effect: this model's output is its token embedding",
            "write token_embedding_type alone",
        )


def _check_largest_weights(recipe: GgufRecipe, model: ModelFacts) -> None:
    """The scales and minima of quantized blocks have 16 bits too."""
    if FLOATS.get(recipe.file_type) in ("f32", "bf16"):
        return
    for tensor in model.tensors:
        if len(tensor.shape) > 1 and tensor.largest > _LARGEST_HALF:
            raise _refusal(
                f"{tensor.name} has the value {tensor.largest:g}, and the 16-bit floats of"
                f" {recipe.file_type or 'quantized types'} end at {_LARGEST_HALF}",
                'write quant="BF16" or quant="F32"',
            )


def _check_block_sizes(recipe: GgufRecipe, model: ModelFacts) -> None:
    """Where blocks do not fill a row, llama-quantize uses another type or aborts."""
    width = model.architecture.get("hidden_size")
    for field in ("output_tensor_type", "token_embedding_type"):
        name = getattr(recipe, field)
        if name is None:
            continue
        kind = target_type(field, name)
        if width and not kind.holds(width):
            raise _refusal(
                f"{field}: {kind.name} has blocks of {kind.block_size} weights, which do not fill"
                f" rows of {width}",
                'use a type with blocks of 32, such as "q8_0"',
            )
    if recipe.file_type == "Q1_0":
        kind = BY_NAME["q1_0"]
        for tensor in model.tensors:
            if len(tensor.shape) > 1 and not kind.holds(tensor.shape[-1]):
                raise _refusal(
                    f"Q1_0's blocks of {kind.block_size} do not fill the rows of {tensor.shape[-1]}"
                    f" weights of {tensor.name}",
                    'use another file type, such as quant="Q2_K"',
                )
