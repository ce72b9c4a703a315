"""Computes the size of each tensor in each candidate type, and of the rest of the file; runs under
phibuild's Python and reads no weights.
"""

from __future__ import annotations

import json
from math import prod

import phiworker

from phibuild_gguf.format.layout import place_tensors
from phibuild_gguf.format.splits import file_layouts
from phibuild_gguf.target_size.candidates import candidates
from phibuild_gguf.writing.planned_files import (
    converter_values,
    imatrix_of_job,
    quantized_values,
    tensors_of_job,
    tensors_of_recipe,
)

_ANY = "Q8_0"  # general.file_type has the same size for every file type


def main(job: phiworker.Job) -> None:
    target = job.recipe["target_bytes"]
    tensors = tensors_of_job(job, tensors_of_recipe(job))
    values = quantized_values(converter_values(job), _ANY, imatrix_of_job(job, tensors))
    stored = [(tensor.name, tensor.shape, tensor.stored) for tensor in tensors]
    (file,) = file_layouts(values, stored, limit=None)
    sizes = {
        tensor: {kind.name: place_tensors([(tensor.name, tensor.shape, kind)])[1] for kind in kinds}
        for tensor, kinds in candidates(tensors).items()
    }
    fixed = file.size - sum(by_type[tensor.stored.name] for tensor, by_type in sizes.items())
    least = fixed + sum(min(by_type.values()) for by_type in sizes.values())
    if least > target:
        raise phiworker.WorkerError(
            f"target_bytes={target} is too small: with the smallest type for each tensor the file"
            f" has {least:,} bytes",
            hint=f"target_bytes must be at least {least} for this model",
            code="PHI701",
        )
    choices = {
        "target_bytes": target,
        "fixed_bytes": fixed,
        "tensors": [
            {"name": tensor.name, "weights": prod(tensor.shape), "sizes": by_type}
            for tensor, by_type in sizes.items()
        ],
    }
    job.output.write_text(json.dumps(choices), "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
