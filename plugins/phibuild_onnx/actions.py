"""The actions of the ONNX backend: one builds, one asks an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from phibuild.api import Action, FileInput, ModelFacts, frozen_recipe, recipe_values
from phibuild_onnx.recipe import OnnxRecipe

_HERE = Path(__file__).parent


def plan(recipe: OnnxRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
    """The build, with the builder's defaults spelt out."""
    fields = {
        name: value
        for name, value in recipe_values(recipe).items()
        if not name.startswith("exclude")
    }
    if recipe.precision in ("int4", "int8"):
        defaults = {
            "block_size": 32,
            "accuracy_level": 4 if recipe.execution_provider in ("cpu", "webgpu") else 0,
            "is_symmetric": True,
            "algo_config": "default",
        }
        fields = defaults | fields
    return Action(
        name="onnx.build",
        worker=_HERE / "worker_build.py",
        toolchain="onnx",
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture", "tokenizer", "chat_template", "generation"),
    )


def generate(artifact: FileInput, prompt: str, max_tokens: int) -> Action:
    """What the artifact answers, by greedy decoding."""
    return Action(
        name="onnx.generate",
        worker=_HERE / "worker_generate.py",
        toolchain="onnx",
        recipe=frozen_recipe({"prompt": prompt, "max_tokens": max_tokens}),
        inputs=(("artifact", artifact),),
    )


def label(recipe: OnnxRecipe) -> str:
    """What the summary shows: precision and provider."""
    return f"{recipe.precision} {recipe.execution_provider}"
