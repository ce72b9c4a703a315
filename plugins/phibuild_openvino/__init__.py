"""The OpenVINO backend: IR for Intel hardware, built by Optimum and NNCF, run by OpenVINO GenAI."""

from __future__ import annotations

from pathlib import Path

from phibuild.api import Backend, Evaluator, PythonToolchain, hookimpl
from phibuild_openvino.actions import bits_per_weight, generate, label, plan
from phibuild_openvino.check import check
from phibuild_openvino.describe import FORMAT, describe
from phibuild_openvino.recipe import OpenVinoRecipe


@hookimpl
def phibuild_backends() -> tuple[Backend, ...]:
    """The builder `env.OpenVINO`."""
    return (
        Backend(
            name="openvino",
            builder="OpenVINO",
            format=FORMAT,
            kind="tree",
            recipe=OpenVinoRecipe,
            check=check,
            plan=plan,
            label=label,
            bits_per_weight=bits_per_weight,
            describe=describe,
            extras=("calibration",),
            format_code="OVIR",
            starters=tuple({"precision": "int4", "group_size": size} for size in (128, 64, 32)),
        ),
    )


@hookimpl
def phibuild_evaluators() -> tuple[Evaluator, ...]:
    """OpenVINO GenAI on the CPU."""
    return (Evaluator(format=FORMAT, generate=generate),)


@hookimpl
def phibuild_toolchains() -> tuple[PythonToolchain, ...]:
    """The interpreter that holds Optimum, NNCF and OpenVINO."""
    lock = Path(__file__).with_name("toolchain.lock")
    roots = (
        "nncf",
        "openvino",
        "openvino-genai",
        "openvino-tokenizers",
        "optimum-intel",
        "torch",
        "transformers",
    )
    return (PythonToolchain("openvino", lock, roots=roots),)
