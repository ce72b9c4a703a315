"""The GGUF backend: models for llama.cpp, quantized and run by llama.cpp itself."""

from __future__ import annotations

from pathlib import Path

from phibuild.api import (
    Backend,
    Description,
    Evaluator,
    NativeToolchain,
    PythonToolchain,
    Runtime,
    hookimpl,
)
from phibuild_gguf.actions import (
    alternatives,
    bits_per_weight,
    generate,
    label,
    label_imatrix,
    most_bytes,
    plan,
    plan_imatrix,
    predict,
)
from phibuild_gguf.check import check, check_imatrix
from phibuild_gguf.llama_cpp.build import build, build_for_device, label_device
from phibuild_gguf.recipe import GgufRecipe, ImatrixRecipe, LlamaCppRecipe


@hookimpl
def phibuild_backends() -> tuple[Backend, ...]:
    """The builders `env.GGUF` and `env.Imatrix`."""
    return (
        Backend(
            name="gguf",
            builder="GGUF",
            format="GGUF",
            kind="file",
            recipe=GgufRecipe,
            check=check,
            plan=plan,
            label=label,
            describe=_describe,
            extras=("imatrix",),
            predict=predict,
            bits_per_weight=bits_per_weight,
            most_bytes=most_bytes,
            alternatives=alternatives,
            suffix=".gguf",
            format_code="GGUF",
            starters=({"precision": "int4"},),
        ),
        Backend(
            name="imatrix",
            builder="Imatrix",
            format="imatrix",
            kind="file",
            recipe=ImatrixRecipe,
            check=check_imatrix,
            plan=plan_imatrix,
            label=label_imatrix,
            describe=_describe_imatrix,
            extras=("text",),
            is_model=False,
        ),
    )


@hookimpl
def phibuild_runtimes() -> tuple[Runtime, ...]:
    """The builder `env.LlamaCpp`."""
    return (
        Runtime(
            name="llama.cpp",
            builder="LlamaCpp",
            format="llama.cpp",
            recipe=LlamaCppRecipe,
            plan=build_for_device,
            label=label_device,
        ),
    )


@hookimpl
def phibuild_evaluators() -> tuple[Evaluator, ...]:
    """llama.cpp."""
    return (Evaluator(format="GGUF", generate=generate),)


@hookimpl
def phibuild_toolchains() -> tuple[PythonToolchain | NativeToolchain, ...]:
    """The Python packages of llama.cpp's converter, and llama.cpp's programs."""
    lock = Path(__file__).with_name("toolchain.lock")
    return (
        PythonToolchain("gguf", lock, roots=("torch", "transformers", "sentencepiece")),
        NativeToolchain("llama.cpp", build),
    )


def _describe(path: Path) -> Description:
    from phibuild_gguf.describe import describe  # builds do not need it

    return describe(path)


def _describe_imatrix(path: Path) -> Description:
    from phibuild_gguf.describe import describe_imatrix

    return describe_imatrix(path)
