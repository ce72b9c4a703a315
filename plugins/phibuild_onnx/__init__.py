"""The ONNX backend: models for ONNX Runtime GenAI, built by its own model builder and run by it."""

from __future__ import annotations

from pathlib import Path

from phibuild.api import Backend, Evaluator, PythonToolchain, hookimpl
from phibuild_onnx.actions import bits_per_weight, generate, label, plan
from phibuild_onnx.check import check
from phibuild_onnx.describe import describe
from phibuild_onnx.recipe import SCALES, OnnxRecipe


@hookimpl
def phibuild_backends() -> tuple[Backend, ...]:
    """The builder `env.OnnxGenAI`."""
    return (
        Backend(
            name="onnx",
            builder="OnnxGenAI",
            format="ONNX",
            kind="tree",
            recipe=OnnxRecipe,
            check=check,
            plan=plan,
            label=label,
            bits_per_weight=bits_per_weight,
            describe=describe,
            extras=(SCALES,),
            format_code="ONNX",
            starters=({"precision": "int4", "execution_provider": "cpu"},),
        ),
    )


@hookimpl
def phibuild_evaluators() -> tuple[Evaluator, ...]:
    """ONNX Runtime GenAI itself."""
    return (Evaluator(format="ONNX", generate=generate),)


@hookimpl
def phibuild_toolchains() -> tuple[PythonToolchain, ...]:
    """The interpreter that holds the model builder and its runtime."""
    lock = Path(__file__).with_name("toolchain.lock")
    return (PythonToolchain("onnx", lock, roots=("torch", "transformers", "onnxruntime-genai")),)
