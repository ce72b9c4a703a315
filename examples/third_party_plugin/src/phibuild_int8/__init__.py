"""A phibuild plugin: weights as signed bytes with scales, in one safetensors file.

phibuild imports this module at every start, so it imports nothing heavy: numpy is for the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from phibuild.api import (
    Action,
    Backend,
    FileInput,
    ModelFacts,
    PythonToolchain,
    frozen_recipe,
    hookimpl,
)
from phibuild_int8.describe import describe
from phibuild_int8.recipe import Int8Recipe, check

_HERE = Path(__file__).parent
_TOOLCHAIN = "int8-safetensors"


@hookimpl
def phibuild_backends() -> tuple[Backend, ...]:
    """The builder `env.Int8Safetensors`."""
    return (
        Backend(
            name="int8-safetensors",
            builder="Int8Safetensors",
            format="safetensors-int8",
            kind="file",
            recipe=Int8Recipe,
            check=check,
            plan=plan,
            label=label,
            describe=describe,
            suffix=".safetensors",
            format_code="INT8",
            starters=({"group_size": 64}, {}),
        ),
    )


@hookimpl
def phibuild_toolchains() -> tuple[PythonToolchain, ...]:
    """An interpreter with numpy, ml-dtypes (numpy's bfloat16) and safetensors, all locked."""
    roots = ("numpy", "ml-dtypes", "safetensors")
    return (PythonToolchain(_TOOLCHAIN, _HERE / "toolchain.lock", roots=roots),)


def plan(recipe: Int8Recipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
    """An action that reads only the weights: a new chat template does not run it.

    Its recipe has everything that may change the bytes, in one spelling: equal bytes, equal key.
    """
    fields = {
        "group_size": recipe.group_size,
        "scale_dtype": recipe.scale_dtype,
        "keep": sorted(set(recipe.keep)),
    }
    return Action(
        name="int8.quantize",
        worker=_HERE / "worker.py",
        toolchain=_TOOLCHAIN,
        recipe=frozen_recipe(fields),
        slices=("weights",),
    )


def label(recipe: Int8Recipe) -> str:
    """The artifact's precision in the summary."""
    return "int8"
