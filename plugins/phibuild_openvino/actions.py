"""The actions of the OpenVINO backend: export, calibrated compression, asking an artifact."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phibuild.api import Action, FileInput, ModelFacts, frozen_recipe
from phibuild_openvino.recipe import FLOATS, OpenVinoRecipe, compression_of, correction_of

_HERE = Path(__file__).parent
_SHARED = (_HERE / "ir_compression.py", _HERE / "toolkit.py")


def plan(recipe: OpenVinoRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
    """One action exports and compresses. With a calibration text there are two, so that recipes
    that differ in the compression only share the export."""
    calibration = extras.get("calibration")
    fields: dict[str, Any] = {"precision": recipe.precision}
    if recipe.precision not in FLOATS:
        fields["sym"] = bool(recipe.sym)
    if recipe.precision == "int4":
        compression = compression_of(recipe, calibrated=calibration is not None)
        fields |= dataclasses.asdict(compression)
    if calibration is None:
        return _export(fields)
    return Action(
        name="openvino.compress",
        worker=_HERE / "worker_compress.py",
        worker_files=_SHARED,
        toolchain="openvino",
        recipe=frozen_recipe(fields | dataclasses.asdict(correction_of(recipe))),
        inputs=(("ir", _export({"precision": "stored"})), ("calibration", calibration)),
    )


def generate(artifact: FileInput, prompt: str, max_tokens: int) -> Action:
    """What the artifact answers, by greedy decoding."""
    return Action(
        name="openvino.generate",
        worker=_HERE / "worker_generate.py",
        worker_files=(_HERE / "toolkit.py",),
        toolchain="openvino",
        recipe=frozen_recipe({"prompt": prompt, "max_tokens": max_tokens}),
        inputs=(("artifact", artifact),),
    )


def label(recipe: OpenVinoRecipe) -> str:
    """What the summary shows: the precision, and for int4 what tells one from another."""
    if recipe.precision in FLOATS:
        return recipe.precision
    kind = f"{recipe.precision} {'sym' if recipe.sym else 'asym'}"
    if recipe.precision == "int8":
        return kind
    compression = compression_of(recipe, calibrated=False)
    group = "per channel" if compression.group_size == -1 else f"g{compression.group_size}"
    ratio = f" ratio {compression.ratio:g}" if compression.ratio < 1 else ""
    return f"{kind} {group}{ratio}"


def _export(fields: Mapping[str, Any]) -> Action:
    """`precision` "stored" leaves the weights in the checkpoint's type, for a later compression."""
    return Action(
        name="openvino.export",
        worker=_HERE / "worker_export.py",
        worker_files=_SHARED,
        toolchain="openvino",
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture", "tokenizer", "chat_template", "generation"),
    )
