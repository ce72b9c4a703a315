"""The actions of the OpenVINO backend: weights, tokenizer, sidecar, and asking an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phibuild.api import (
    Action,
    Assembly,
    FileInput,
    ModelFacts,
    Part,
    frozen_recipe,
)
from phibuild_openvino.recipe import FLOATS, OpenVinoRecipe, compression_of, correction_of

_HERE = Path(__file__).parent


def plan(recipe: OpenVinoRecipe, model: ModelFacts, extras: Mapping[str, FileInput]) -> Assembly:
    """The IR of the model, the IR of its tokenizer, and the small files that an edit of a template
    or of generation settings reaches. With a calibration text, the compression is an action of its
    own, so that recipes that differ in it only share the export."""
    calibration = extras.get("calibration")
    fields: dict[str, Any] = {"precision": recipe.precision}
    if recipe.precision not in FLOATS:
        fields["sym"] = bool(recipe.sym)
    if recipe.precision == "int4":
        compression = compression_of(recipe, calibrated=calibration is not None)
        fields |= compression._asdict()
    tokenizer = _tokenizer()
    weights = _weights(fields if calibration is None else {"precision": "stored"})
    exported = Part(weights, "model")
    ir: Action | Part = exported
    if calibration is not None:
        tokens = _tokens(calibration, tokenizer)
        ir = _compress(fields | correction_of(recipe)._asdict(), exported, tokens)
    return Assembly(
        name="openvino.assemble",
        inputs=(
            ("model", ir),
            ("tokenizer", Part(tokenizer, "files")),
            ("sidecar", _sidecar(weights, tokenizer)),
        ),
    )


def generate(artifact: FileInput, prompt: str, max_tokens: int) -> Action:
    """What the artifact answers, by greedy decoding."""
    return Action(
        name="openvino.generate",
        worker=_HERE / "worker_generate.py",
        toolchain="openvino",
        recipe=frozen_recipe({"prompt": prompt, "max_tokens": max_tokens}),
        inputs=(("artifact", artifact),),
    )


def bits_per_weight(recipe: OpenVinoRecipe) -> float:
    """Those of a weight of a matrix, with its share of the group's scale and zero point."""
    if recipe.precision != "int4":
        return {"int8": 8, "fp16": 16, "fp32": 32}[recipe.precision]
    compression = compression_of(recipe, calibrated=False)
    shared = 16 if recipe.sym else 20
    in_group = shared / compression.group_size if compression.group_size > 0 else 0
    return compression.ratio * (4 + in_group) + (1 - compression.ratio) * 8


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


def _weights(fields: Mapping[str, Any]) -> Action:
    """`precision` "stored" leaves the weights in the checkpoint's type, for a later compression."""
    return Action(
        name="openvino.weights",
        worker=_HERE / "worker_weights.py",
        toolchain="openvino",
        recipe=frozen_recipe(fields),
        slices=("weights", "architecture"),
    )


def _tokenizer() -> Action:
    """The architecture tells transformers which tokenizer class the files are meant for."""
    return Action(
        name="openvino.tokenizer",
        worker=_HERE / "worker_tokenizer.py",
        toolchain="openvino",
        slices=("architecture", "tokenizer"),
    )


def _sidecar(weights: Action, tokenizer: Action) -> Action:
    return Action(
        name="openvino.sidecar",
        worker=_HERE / "worker_sidecar.py",
        toolchain="host",
        slices=("architecture", "tokenizer", "chat_template", "generation"),
        inputs=(
            ("config", Part(weights, "base/config.json")),
            ("generation", Part(weights, "base/generation_config.json")),
            ("tokenizer", Part(tokenizer, "base/openvino_tokenizer.xml")),
            ("detokenizer", Part(tokenizer, "base/openvino_detokenizer.xml")),
        ),
    )


def _tokens(calibration: FileInput, tokenizer: Action) -> Action:
    """An action of its own, so that the compression does not follow each edit of the tokenizer."""
    return Action(
        name="openvino.tokens",
        worker=_HERE / "worker_tokens.py",
        toolchain="openvino",
        inputs=(
            ("calibration", calibration),
            ("tokenizer", Part(tokenizer, "files/tokenizer.json")),
        ),
    )


def _compress(fields: Mapping[str, Any], ir: Part, tokens: Action) -> Action:
    return Action(
        name="openvino.compress",
        worker=_HERE / "worker_compress.py",
        toolchain="openvino",
        recipe=frozen_recipe(fields),
        inputs=(("ir", ir), ("tokens", tokens)),
    )
