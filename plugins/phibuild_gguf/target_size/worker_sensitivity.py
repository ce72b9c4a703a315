"""Measures the loss of each tensor in each candidate type; runs under phibuild's Python.

The loss of a tensor W stored as V is

    sum of a_j (W_ij - V_ij)^2  /  sum of a_j W_ij^2

with a_j the mean square of the activation that column j is multiplied by, from the imatrix, or 1
without one (source: README.md). Large tensors are sampled: every n-th part of consecutive rows
(native/main.cpp) is measured, about SAMPLE weights for each tensor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

import phiworker

from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.llama_cpp.quantize import Encoding, quantize
from phibuild_gguf.target_size.candidates import candidates
from phibuild_gguf.tensors.checkpoint import OutputTensor
from phibuild_gguf.tensors.demands import EMBEDDING, OUTPUT
from phibuild_gguf.tensors.imatrix import Importance, Importances
from phibuild_gguf.writing.planned_files import imatrix_of_job, tensors_of_job

SAMPLE = 1 << 22


class Measurement(NamedTuple):
    """A tensor, the types to measure it in, and the key of the result. `uses` is 2 for an embedding
    that is also the output: it is the first layer and the last."""

    tensor: OutputTensor
    kinds: tuple[GgmlType, ...]
    uses: int
    importance: Importance | None
    key: str


def main(job: phiworker.Job) -> None:
    tensors = tensors_of_job(job, job.tensors)
    importances = imatrix_of_job(job, tensors)
    imatrix = importances.path if importances else None
    measurements = list(_measurements(job.identity, tensors, importances))
    lines = {}
    for key, piece in job.recall(measurement.key for measurement in measurements).items():
        content = piece.read()
        if content is not None:
            lines[key] = content.decode()
    new = [measurement for measurement in measurements if measurement.key not in lines]
    losses = _losses(
        job,
        [
            Encoding(measurement.tensor, kind, measurement.importance, imatrix, ())
            for measurement in new
            for kind in measurement.kinds
        ],
    )
    for tensor, kinds, uses, _, key in new:
        by_type = {kind.name: uses * losses[tensor, kind] for kind in kinds}
        lines[key] = json.dumps({"name": tensor.name, "losses": by_type})
    _write(job, {measurement.key: lines[measurement.key] for measurement in measurements})
    print(f"tensors: {len(new)} measured, {len(measurements) - len(new)} known")


def _measurements(
    identity: str, tensors: Iterable[OutputTensor], importances: Importances | None
) -> Iterator[Measurement]:
    names = {tensor.name for tensor in tensors}
    for tensor, candidate_types in candidates(tensors).items():
        kinds = tuple(kind for kind in candidate_types if kind != tensor.stored)
        uses = 2 if tensor.name == EMBEDDING and OUTPUT not in names else 1
        importance = importances.of_tensor(tensor) if importances else None
        facts = [
            "gguf losses",
            identity,
            tensor.name,
            [[source.dtype, source.sha256] for source in tensor.sources],
            list(tensor.shape),
            tensor.stored.name,
            [kind.name for kind in kinds],
            uses,
            importance.sha256 if importance else None,
        ]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        yield Measurement(tensor, kinds, uses, importance, key)


def _losses(
    job: phiworker.Job, encodings: list[Encoding]
) -> dict[tuple[OutputTensor, GgmlType], float]:
    losses: dict[tuple[OutputTensor, GgmlType], float] = {}

    def on_distance(encoding: Encoding, error: float, values: float) -> None:
        losses[encoding.tensor, encoding.type] = error / values if values else 0.0

    def on_done(encoding: Encoding) -> None:
        job.progress(len(losses) / len(encodings), encoding.tensor.name)

    if encodings:
        quantize(job, encodings, on_done=on_done, on_distance=on_distance, step_of=_step)
    return losses


def _step(tensor: OutputTensor) -> int:
    return -(-prod(tensor.shape) // SAMPLE)


def _write(job: phiworker.Job, lines: dict[str, str]) -> None:
    """One line for each tensor; each is remembered, and a later run measures only what changed."""
    content = b"[\n"
    for number, (key, line) in enumerate(lines.items()):
        text = line.encode()
        sha256 = hashlib.sha256(text).hexdigest()
        job.remember(key, offset=len(content), size=len(text), sha256=sha256)
        content += text + (b",\n" if number + 1 < len(lines) else b"\n")
    job.output.write_bytes(content + b"]\n")


if __name__ == "__main__":
    phiworker.run(main)
