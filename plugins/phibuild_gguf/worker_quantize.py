"""Quantizes a GGUF file with llama-quantize; runs under phibuild's Python."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import phiworker

if TYPE_CHECKING:
    from phibuild_gguf.expectations import check_imatrix, check_result, demands
    from phibuild_gguf.gguf_header import read_header
    from phibuild_gguf.neutral_imatrix import copy_neutral
    from phibuild_gguf.programs import run_program
else:
    from expectations import check_imatrix, check_result, demands
    from gguf_header import read_header
    from neutral_imatrix import copy_neutral
    from programs import run_program

# The file holds this name and not the path of the imatrix.
_IMATRIX = "imatrix.gguf"
_TYPES = "tensor_types.txt"


def main(job: phiworker.Job) -> None:
    recipe, model = job.recipe, read_header(job.inputs["model"])
    demanded = demands(recipe, model)
    options = options_of(recipe, job.scratch)
    if "imatrix" in job.inputs:
        imatrix = copy_neutral(job.inputs["imatrix"], job.scratch / _IMATRIX)
        check_imatrix(recipe, model, imatrix)
        options += ["--imatrix", _IMATRIX]
    places = [str(job.inputs["model"]), str(job.output)]

    def on_count(match: re.Match[str]) -> None:
        done, total = int(match[1]) - 1, int(match[2])
        job.progress(done / total, f"tensor {done + 1} of {total}")

    run_program(
        job,
        "llama-quantize",
        [*options, *places, recipe["file_type"], str(job.threads)],
        counter=r"\[ *(\d+)/ *(\d+)\]",
        on_count=on_count,
    )
    result = read_header(job.output)
    check_result(demanded, result)
    types = Counter(tensor.type.name for tensor in result.tensors)
    print("types:", ", ".join(f"{name} {count}" for name, count in types.most_common()))


def options_of(recipe: dict[str, Any], scratch: Path) -> list[str]:
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
        (scratch / _TYPES).write_text("".join(lines), "utf-8")
        options += ["--tensor-type-file", _TYPES]
    return options


if __name__ == "__main__":
    phiworker.run(main)
