"""Tells how large a GGUF artifact will be; runs under phibuild's Python and reads no weights."""

from __future__ import annotations

import json
from pathlib import Path

import phiworker

from phibuild_gguf.writing.planned_files import planned


def main(job: phiworker.Job) -> None:
    tensors = [
        phiworker.StoredTensor(
            name=name, dtype=dtype, shape=tuple(shape), sha256="", path=Path(), offset=0, size=0
        )
        for name, dtype, shape in job.recipe["tensors"]
    ]
    size = sum(file.size for file in planned(job, tensors).files)
    job.output.write_text(json.dumps({"bytes": size}), "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
