"""The type that llama-quantize chooses for each tensor, from its --dry-run.

The dry run reads a file with the real metadata and holes for tensors, and prints its choice: no
interface of llama.cpp returns it. `llama_quant_compute_types` in src/llama-ext.h ignores the
imatrix, on which the types of Q4_0, Q5_0, IQ3_XXS, IQ4_NL and IQ4_XS depend. Quantizing a
model of two rows per tensor and reading the result's header takes up to 16 s for IQ1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phiworker import Job, WorkerError

from phibuild_gguf.format.layout import beginning, place_tensors
from phibuild_gguf.format.types import BY_NAME, GgmlType
from phibuild_gguf.llama_cpp.programs import run_program
from phibuild_gguf.tensors.checkpoint import OutputTensor

_MODEL, _OVERRIDES = "model.gguf", "tensor_types.txt"
_LINE = (
    r"\[ *\d+/ *\d+\] (\S+) +- \[[\d, ]+\], type = +(\w+), size = +[\d.]+ MiB"
    r"(?: -> +[\d.]+ MiB \((\w+)\))?\n"
)


def chosen_types(
    job: Job, tensors: Sequence[OutputTensor], values: Mapping[str, bytes], imatrix: str | None
) -> dict[str, GgmlType]:
    """The type of each tensor, by name. `imatrix` names a file in the scratch folder."""
    places, size = place_tensors((tensor.name, tensor.shape, tensor.stored) for tensor in tensors)
    start = beginning(values, places)
    model = job.scratch / _MODEL
    model.write_bytes(start)
    os.truncate(model, len(start) + size)
    chosen: dict[str, GgmlType] = {}

    def on_line(line: re.Match[str]) -> None:
        name, stored, quantized = line.groups()
        chosen[name] = BY_NAME[(quantized or stored).lower()]

    options = _options(job.recipe, job.scratch)
    options += ["--imatrix", imatrix] if imatrix else []
    run_program(
        job,
        "llama-quantize",
        [*options, "--dry-run", _MODEL, job.recipe["quant"]],
        pattern=_LINE,
        on_match=on_line,
    )
    model.unlink()
    if chosen.keys() != {tensor.name for tensor in tensors}:
        raise WorkerError(
            "llama-quantize --dry-run does not print the types of the tensors",
            hint="the llama.cpp of PHIBUILD_LLAMA_CPP may print them in another form",
        )
    return chosen


def _options(recipe: Mapping[str, Any], scratch: Path) -> list[str]:
    """The recipe as options. Overrides are in a file: a command line has a maximum length."""
    options = []
    if recipe["pure"]:
        options.append("--pure")
    if recipe["leave_output_tensor"]:
        options.append("--leave-output-tensor")
    for field in ("output_tensor_type", "token_embedding_type"):
        if recipe[field]:
            options += [f"--{field.replace('_', '-')}", recipe[field]]
    for field in ("include_weights", "exclude_weights"):
        for part in recipe[field]:
            options += [f"--{field.replace('_', '-')}", part]
    if recipe["overrides"]:
        lines = [f"{pattern}={kind}\n" for pattern, kind in recipe["overrides"]]
        (scratch / _OVERRIDES).write_text("".join(lines), "utf-8")
        options += ["--tensor-type-file", _OVERRIDES]
    return options
