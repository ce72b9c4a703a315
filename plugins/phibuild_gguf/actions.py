"""The actions of the GGUF backend: convert, quantize, weigh (imatrix), and ask an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from phibuild.api import Action, FileInput, ModelFacts, frozen_recipe
from phibuild_gguf.check import target_type
from phibuild_gguf.file_types import FLOATS
from phibuild_gguf.recipe import GgufRecipe, ImatrixRecipe

_HERE = Path(__file__).parent
_LLAMA_CPP = ("llama.cpp",)


def plan(recipe: GgufRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
    """The conversion, and what quantizes its result. Recipes that differ in the quantization alone
    share the conversion."""
    converted = _convert(recipe)
    if recipe.file_type in FLOATS:
        return converted
    return _quantize(recipe, converted, extras)


def plan_imatrix(
    recipe: ImatrixRecipe, model: ModelFacts, extras: Mapping[str, FileInput]
) -> Action:
    """The pass over the text, by the converted model or a quantized one."""
    ran = _convert(recipe)
    if recipe.file_type and recipe.file_type not in FLOATS:
        ran = _quantize(GgufRecipe(quant=recipe.file_type), ran, {})
    fields = {
        "ctx_size": recipe.ctx_size,
        "chunks": recipe.chunks,
        "from_chunk": recipe.from_chunk,
        "process_output": recipe.process_output,
        "parse_special": recipe.parse_special,
    }
    return Action(
        name="gguf.imatrix",
        worker=_HERE / "worker_imatrix.py",
        worker_files=(_HERE / "programs.py",),
        toolchain="host",
        tools=_LLAMA_CPP,
        recipe=frozen_recipe(fields),
        inputs=(("model", ran), ("text", extras["text"])),
    )


def generate(artifact: FileInput, prompt: str, max_tokens: int) -> Action:
    """What the artifact answers in llama.cpp, by greedy decoding."""
    return Action(
        name="gguf.generate",
        worker=_HERE / "worker_generate.py",
        worker_files=(_HERE / "programs.py",),
        toolchain="host",
        tools=_LLAMA_CPP,
        recipe=frozen_recipe({"prompt": prompt, "max_tokens": max_tokens}),
        inputs=(("artifact", artifact),),
    )


def label(recipe: GgufRecipe) -> str:
    """What the summary shows: the file type."""
    return recipe.file_type


def label_imatrix(recipe: ImatrixRecipe) -> str:
    """What the summary shows: what was run."""
    return f"of {recipe.file_type}" if recipe.file_type else "of the unquantized model"


def _convert(recipe: GgufRecipe | ImatrixRecipe) -> Action:
    fields = {
        "outtype": FLOATS.get(recipe.file_type) or recipe.outtype or "auto",
        "model_name": recipe.model_name,
        "pre_tokenizer": recipe.pre_tokenizer,
    }
    return Action(
        name="gguf.convert",
        worker=_HERE / "worker_convert.py",
        worker_files=(_HERE / "vocabulary.py", _HERE / "pre_tokenizers.py"),
        toolchain="gguf",
        tools=_LLAMA_CPP,
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture", "tokenizer", "chat_template", "generation"),
    )


def _quantize(recipe: GgufRecipe, model: Action, extras: Mapping[str, FileInput]) -> Action:
    fields = {
        "file_type": recipe.file_type,
        "overrides": [
            [pattern, target_type("overrides", kind).name]
            for pattern, kind in recipe.overrides or ()
        ],
        "output_tensor_type": _type_name("output_tensor_type", recipe.output_tensor_type),
        "token_embedding_type": _type_name("token_embedding_type", recipe.token_embedding_type),
        "pure": bool(recipe.pure),
        "leave_output_tensor": bool(recipe.leave_output_tensor),
        "include_weights": list(recipe.include_weights or ()),
        "exclude_weights": list(recipe.exclude_weights or ()),
    }
    imatrix = (("imatrix", extras["imatrix"]),) if "imatrix" in extras else ()
    return Action(
        name="gguf.quantize",
        worker=_HERE / "worker_quantize.py",
        worker_files=tuple(
            _HERE / name
            for name in (
                "expectations.py",
                "ggml_types.py",
                "gguf_header.py",
                "neutral_imatrix.py",
                "programs.py",
            )
        ),
        toolchain="host",
        tools=_LLAMA_CPP,
        recipe=frozen_recipe(fields),
        inputs=(("model", model), *imatrix),
    )


def _type_name(field: str, name: str | None) -> str | None:
    return None if name is None else target_type(field, name).name
