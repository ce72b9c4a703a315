"""Tells what each candidate type of each tensor weighs in the file, and what the rest of the file
does; runs under phibuild's Python and reads no weights."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import phiworker

from phibuild_gguf.format.layout import placed
from phibuild_gguf.format.splits import laid_out
from phibuild_gguf.target_size.candidates import candidates
from phibuild_gguf.writing.planned_files import (
    converter_values,
    importances_of,
    quantized_values,
    wanted_of,
)

_ANY = "Q8_0"  # the key that tells the file type has the same size for each


def main(job: phiworker.Job) -> None:
    target = job.recipe["target_bytes"]
    tensors = [
        phiworker.StoredTensor(
            name=name, dtype=dtype, shape=tuple(shape), sha256="", path=Path(), offset=0, size=0
        )
        for name, dtype, shape in job.recipe["tensors"]
    ]
    wanted = wanted_of(job, tensors)
    values = quantized_values(converter_values(job), _ANY, importances_of(job, wanted))
    (file,) = laid_out(values, [(one.name, one.shape, one.stored) for one in wanted], limit=None)
    sizes = {
        one: {kind.name: placed([(one.name, one.shape, kind)])[1] for kind in kinds}
        for one, kinds in candidates(wanted).items()
    }
    fixed = file.size - sum(each[one.stored.name] for one, each in sizes.items())
    least = fixed + sum(min(each.values()) for each in sizes.values())
    if least > target:
        raise phiworker.WorkerError(
            f"target_bytes={target} is too little: with the smallest type for each tensor the file"
            f" still has {least:,} bytes",
            hint=f"target_bytes is at least {least} for this model",
            code="PHI701",
        )
    choices = {
        "target_bytes": target,
        "fixed_bytes": fixed,
        "tensors": [
            {"name": one.name, "weights": prod(one.shape), "sizes": each}
            for one, each in sizes.items()
        ],
    }
    job.output.write_text(json.dumps(choices), "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
