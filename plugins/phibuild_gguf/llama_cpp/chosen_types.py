"""The type that llama-quantize gives each tensor, told by a dry run of llama-quantize itself.

The dry run gets a file that has the right head and holes for tensors. (`llama_quant_compute_types`
of src/llama-ext.h is not asked: it forgets that there is an imatrix, on which types depend.)
Standard library only; a part of the writing worker.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from phiworker import Job, WorkerError

from phibuild_gguf.format.layout import beginning, placed
from phibuild_gguf.format.types import BY_NAME, GgmlType
from phibuild_gguf.llama_cpp.programs import run_program
from phibuild_gguf.tensors.checkpoint import Wanted

_MODEL, _OVERRIDES = "model.gguf", "tensor_types.txt"
_LINE = (
    r"\[ *\d+/ *\d+\] (\S+) +- \[[\d, ]+\], type = +(\w+), size = +[\d.]+ MiB"
    r"(?: -> +[\d.]+ MiB \((\w+)\))?\n"
)


def chosen_types(
    job: Job, tensors: Sequence[Wanted], values: Mapping[str, bytes], imatrix: str | None
) -> dict[str, GgmlType]:
    """The type of each tensor by name. `imatrix` is the name of a file in the scratch folder."""
    places, size = placed((one.name, one.shape, one.stored) for one in tensors)
    start = beginning(values, places)
    model = job.scratch / _MODEL
    model.write_bytes(start)
    os.truncate(model, len(start) + size)
    chosen: dict[str, GgmlType] = {}

    def on_line(line: re.Match[str]) -> None:
        chosen[line[1]] = BY_NAME[(line[3] or line[2]).lower()]

    options = _options(job.recipe, job.scratch)
    options += ["--imatrix", imatrix] if imatrix else []
    run_program(
        job,
        "llama-quantize",
        [*options, "--dry-run", _MODEL, job.recipe["file_type"]],
        counter=_LINE,
        on_count=on_line,
    )
    model.unlink()
    if chosen.keys() != {one.name for one in tensors}:
        raise WorkerError(
            "llama-quantize --dry-run does not say which types the tensors get",
            hint="a llama.cpp of your own (PHIBUILD_LLAMA_CPP) may print it in another form",
        )
    return chosen


def _options(recipe: Mapping[str, Any], scratch: Path) -> list[str]:
    """The recipe in llama-quantize's words. Overrides go through a file: a command line ends."""
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
