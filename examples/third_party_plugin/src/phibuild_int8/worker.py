"""Writes matrices as signed bytes with scales; runs under the toolchain's interpreter.

phibuild is not installed there, but `phiworker` can be imported: the job, progress, and errors.
A matrix becomes `name` (int8) and `name_scale` (rows x groups), with a product of about its values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (adds bfloat16 to numpy)
import numpy as np
import phiworker
from safetensors import safe_open
from safetensors.numpy import save_file


def main(job: phiworker.Job) -> None:
    recipe = job.recipe
    tensors: dict[str, Any] = {}
    for name, share, array in read(job.inputs["model"]):
        job.progress(share, name)
        if array.ndim != 2 or any(fnmatchcase(name, pattern) for pattern in recipe["keep"]):
            tensors[name] = array
        else:
            tensors[name], tensors[f"{name}_scale"] = quantize(
                array.astype(np.float32), recipe["group_size"], recipe["scale_dtype"]
            )
    job.progress(None, "write")
    # One entry: safetensors writes several in an order that differs between runs.
    save_file(tensors, job.output, metadata={"int8": json.dumps(recipe, sort_keys=True)})


def read(model: Path) -> Iterator[tuple[str, float, Any]]:
    """Name, share of the work so far, and values of each tensor, in the order of names, which does
    not depend on how they are spread over files."""
    shards: dict[str, Path] = {}
    for shard in sorted(model.glob("*.safetensors")):
        with safe_open(shard, framework="numpy") as file:
            shards |= dict.fromkeys(file.keys(), shard)
    for index, name in enumerate(sorted(shards)):
        with safe_open(shards[name], framework="numpy") as file:
            yield name, index / len(shards), file.get_tensor(name)


def quantize(array: Any, group_size: int | None, scale_dtype: str) -> tuple[Any, Any]:
    """The nearest multiples of each group's scale, which makes its largest weight 127."""
    rows, width = array.shape
    groups = array.reshape(rows, -1, group_size or width)
    scale = (np.abs(groups).max(axis=2) / 127).astype(scale_dtype)
    scale[scale == 0] = 1  # a group of zeros, or of weights too small for the type
    numbers = np.rint(groups / scale[:, :, None].astype(np.float32))
    return np.clip(numbers, -127, 127).astype(np.int8).reshape(rows, width), scale


if __name__ == "__main__":
    phiworker.run(main)
