"""The MLX backend: models for Apple silicon, built and run by mlx-lm."""

from __future__ import annotations

from pathlib import Path

from phibuild.api import Backend, Evaluator, PythonToolchain, hookimpl
from phibuild_mlx.actions import bits_per_weight, generate, label, plan
from phibuild_mlx.check import check
from phibuild_mlx.describe import describe
from phibuild_mlx.recipe import MlxRecipe


@hookimpl
def phibuild_backends() -> tuple[Backend, ...]:
    """The builder `env.MLX`."""
    return (
        Backend(
            name="mlx",
            builder="MLX",
            format="MLX",
            kind="tree",
            recipe=MlxRecipe,
            check=check,
            plan=plan,
            label=label,
            bits_per_weight=bits_per_weight,
            describe=describe,
            format_code="MLX ",
            starters=({"precision": "int4"},),
        ),
    )


@hookimpl
def phibuild_evaluators() -> tuple[Evaluator, ...]:
    """mlx-lm itself."""
    return (Evaluator(format="MLX", generate=generate),)


@hookimpl
def phibuild_toolchains() -> tuple[PythonToolchain, ...]:
    """The interpreter that holds mlx-lm."""
    lock = Path(__file__).with_name("toolchain.lock")
    return (PythonToolchain("mlx", lock, roots=("mlx", "mlx-lm")),)
