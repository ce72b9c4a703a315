"""The actions of the GGUF backend: write a model, make an imatrix, generate text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from phibuild.api import Action, FileInput, ModelFacts, Part, frozen_recipe
from phibuild_gguf.check import REPLACED_BY_TARGET, target_type
from phibuild_gguf.format.file_types import DEFAULT_TYPES, FLOATS
from phibuild_gguf.format.types import BY_NAME
from phibuild_gguf.metadata.size_label import size_label
from phibuild_gguf.recipe import GgufRecipe, ImatrixRecipe

_HERE = Path(__file__).parent
_LLAMA_CPP = ("llama.cpp",)


def plan(recipe: GgufRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
    """Write the artifact. Its metadata is an input, so an edit there quantizes nothing."""
    is_quantized = recipe.file_type not in ("", *FLOATS)
    fields = {
        "quant": recipe.file_type if is_quantized else None,
        "outtype": FLOATS.get(recipe.file_type) or recipe.outtype or "auto",
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
        "split_max_size": recipe.split_max_size,
    }
    allocation: tuple[tuple[str, Part], ...] = ()
    if recipe.target_bytes is not None:
        chosen = _allocation(recipe, model, extras)
        allocation = (("allocation", Part(chosen, "overrides.json")),)
    return Action(
        name="gguf.write",
        worker=_HERE / "writing/worker_write.py",
        toolchain="host",
        tools=_LLAMA_CPP,
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture"),
        inputs=(("metadata", metadata_action(recipe, model)), *_imatrix(extras), *allocation),
        batched=True,
    )


def metadata_action(recipe: GgufRecipe, model: ModelFacts) -> Action:
    """Write a GGUF file without tensors, with the keys and order of llama.cpp's converter, except
    `general.file_type` and `general.quantization_version`, which depend on the tensors' types.

    The tokenizer and the architecture are read by that converter, which takes seconds to start; the
    chat template, generation settings and recipe are added without it."""
    vocabulary = Action(
        name="gguf.vocabulary",
        worker=_HERE / "metadata/worker_vocabulary.py",
        toolchain="gguf",
        tools=("llama.cpp",),
        recipe=frozen_recipe({"pre_tokenizer": recipe.pre_tokenizer}),
        slices=("architecture", "tokenizer"),
    )
    fields = {"model_name": recipe.model_name, "size_label": size_label(model)}
    return Action(
        name="gguf.metadata",
        worker=_HERE / "metadata/worker_metadata.py",
        toolchain="host",
        recipe=frozen_recipe(fields),
        slices=("architecture", "chat_template", "generation"),
        inputs=(("vocabulary", vocabulary),),
    )


def predict(recipe: GgufRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
    """Compute the artifact's size from the names, types and shapes of the tensors."""
    write = plan(recipe, model, extras)
    return Action(
        name="gguf.predict",
        worker=_HERE / "writing/worker_predict.py",
        toolchain=write.toolchain,
        tools=write.tools,
        recipe=(*write.recipe, *frozen_recipe({"tensors": _shapes(model)})),
        slices=("architecture",),
        inputs=write.inputs,
    )


def bits_per_weight(recipe: GgufRecipe) -> float:
    """Bits per weight of the type that most tensors get."""
    kind = BY_NAME[DEFAULT_TYPES[recipe.file_type].lower()]
    return kind.block_bytes * 8 / kind.block_size


def most_bytes(recipe: GgufRecipe) -> int | None:
    """The value of `target_bytes`."""
    return recipe.target_bytes


def alternatives(recipe: GgufRecipe, limit: int) -> Iterable[GgufRecipe]:
    """The recipe with types chosen for the limit, then with each other file type that needs no
    imatrix, most bits first."""
    if not any(getattr(recipe, name) is not None for name in REPLACED_BY_TARGET[2:]):
        yield dataclasses.replace(recipe, quant=None, precision=None, target_bytes=limit)
    needs_imatrix = ("IQ1", "IQ2_XXS", "IQ2_XS", "Q2_K_S")
    others = [
        dataclasses.replace(recipe, quant=name, precision=None, target_bytes=None)
        for name in DEFAULT_TYPES
        if name != recipe.file_type and name not in FLOATS and not name.startswith(needs_imatrix)
    ]
    yield from sorted(others, key=bits_per_weight, reverse=True)


def plan_imatrix(
    recipe: ImatrixRecipe, model: ModelFacts, extras: Mapping[str, FileInput]
) -> Action:
    """Run the model, unquantized or quantized, over the text."""
    model_recipe = GgufRecipe(
        quant=recipe.file_type or None,
        outtype=recipe.outtype,
        model_name=recipe.model_name,
        pre_tokenizer=recipe.pre_tokenizer,
    )
    model_file = plan(model_recipe, model, {})
    fields = {
        "ctx_size": recipe.ctx_size,
        "chunks": recipe.chunks,
        "from_chunk": recipe.from_chunk,
        "process_output": recipe.process_output,
        "parse_special": recipe.parse_special,
    }
    return Action(
        name="gguf.imatrix",
        worker=_HERE / "llama_cpp/worker_imatrix.py",
        toolchain="host",
        tools=_LLAMA_CPP,
        recipe=frozen_recipe(fields),
        inputs=(("model", model_file), ("text", extras["text"])),
    )


def generate(artifact: FileInput, prompt: str, max_tokens: int) -> Action:
    """Generate the artifact's answer in llama.cpp, by greedy decoding."""
    return Action(
        name="gguf.generate",
        worker=_HERE / "llama_cpp/worker_generate.py",
        toolchain="host",
        tools=_LLAMA_CPP,
        recipe=frozen_recipe({"prompt": prompt, "max_tokens": max_tokens}),
        inputs=(("artifact", artifact),),
    )


def label(recipe: GgufRecipe) -> str:
    """The file type or the limit, for the summary."""
    return recipe.file_type or f"target_bytes={recipe.target_bytes}"


def label_imatrix(recipe: ImatrixRecipe) -> str:
    """The model that is run, for the summary."""
    return f"of {recipe.file_type}" if recipe.file_type else "of the unquantized model"


def _allocation(recipe: GgufRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
    """Choose the types for `target_bytes`. An impossible limit is refused before anything is
    measured, and another limit measures nothing again."""
    fields = {
        "outtype": recipe.outtype or "auto",
        "include_weights": list(recipe.include_weights or ()),
        "exclude_weights": list(recipe.exclude_weights or ()),
    }
    choices = Action(
        name="gguf.choices",
        worker=_HERE / "target_size/worker_choices.py",
        toolchain="host",
        recipe=frozen_recipe(
            {**fields, "target_bytes": recipe.target_bytes, "tensors": _shapes(model)}
        ),
        slices=("architecture",),
        inputs=(("metadata", metadata_action(recipe, model)), *_imatrix(extras)),
    )
    sensitivity = Action(
        name="gguf.sensitivity",
        worker=_HERE / "target_size/worker_sensitivity.py",
        toolchain="host",
        tools=_LLAMA_CPP,
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture"),
        inputs=_imatrix(extras),
    )
    return Action(
        name="gguf.allocation",
        worker=_HERE / "target_size/worker_allocation.py",
        toolchain="host",
        inputs=(("choices", choices), ("sensitivity", sensitivity)),
    )


def _imatrix(extras: Mapping[str, FileInput]) -> tuple[tuple[str, FileInput], ...]:
    return (("imatrix", extras["imatrix"]),) if "imatrix" in extras else ()


def _shapes(model: ModelFacts) -> list[list[object]]:
    return [[tensor.name, tensor.type, list(tensor.shape)] for tensor in model.tensors]


def _type_name(field: str, name: str | None) -> str | None:
    return None if name is None else target_type(field, name).name
