"""Measures what each candidate type of each tensor would lose; runs under phibuild's Python.

The loss of a tensor W that is stored as V is

    sum of a_j (W_ij - V_ij)^2  /  sum of a_j W_ij^2

with a_j the mean square of the activation that column j is multiplied with, from the imatrix, and 1
without one. README.md has the source. Large tensors are sampled: a part is some consecutive rows
(native/main.cpp), and every n-th part is measured, so that each tensor has about SAMPLE weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from math import prod
from typing import NamedTuple

import phiworker

from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.llama_cpp.quantize import Order, quantize
from phibuild_gguf.target_size.candidates import candidates
from phibuild_gguf.tensors.checkpoint import Wanted
from phibuild_gguf.tensors.demands import EMBEDDING, OUTPUT
from phibuild_gguf.tensors.imatrix import Importance, Importances
from phibuild_gguf.writing.planned_files import importances_of, wanted_of

SAMPLE = 1 << 22


class Measured(NamedTuple):
    """A tensor, what it is measured as, and the name of its line. `uses` is 2 for an embedding that
    is the output as well: the first layer and the last."""

    wanted: Wanted
    kinds: tuple[GgmlType, ...]
    uses: int
    importance: Importance | None
    key: str


def main(job: phiworker.Job) -> None:
    tensors = wanted_of(job, job.tensors)
    importances = importances_of(job, tensors)
    measured = list(_measured(job.identity, tensors, importances))
    lines = {}
    for key, piece in job.recall(one.key for one in measured).items():
        content = piece.read()
        if content is not None:
            lines[key] = content.decode()
    new = [one for one in measured if one.key not in lines]
    orders = [
        Order(one.wanted, kind, one.importance, importances.path if importances else None, ())
        for one in new
        for kind in one.kinds
    ]
    losses = _losses(job, orders)
    for one in new:
        found = {kind.name: one.uses * losses[one.wanted, kind] for kind in one.kinds}
        lines[one.key] = json.dumps({"name": one.wanted.name, "losses": found})
    _write(job, {one.key: lines[one.key] for one in measured})
    print(f"tensors: {len(new)} measured, {len(measured) - len(new)} known")


def _measured(
    identity: str, tensors: Iterable[Wanted], importances: Importances | None
) -> Iterable[Measured]:
    names = {one.name for one in tensors}
    for one, candidate in candidates(tensors).items():
        kinds = tuple(kind for kind in candidate if kind != one.stored)
        uses = 2 if one.name == EMBEDDING and OUTPUT not in names else 1
        importance = importances.of_tensor(one) if importances else None
        facts = [
            "gguf losses",
            identity,
            one.name,
            [[source.dtype, source.sha256] for source in one.sources],
            list(one.shape),
            one.stored.name,
            [kind.name for kind in kinds],
            uses,
            importance.sha256 if importance else None,
        ]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        yield Measured(one, kinds, uses, importance, key)


def _losses(job: phiworker.Job, orders: list[Order]) -> dict[tuple[Wanted, GgmlType], float]:
    losses: dict[tuple[Wanted, GgmlType], float] = {}

    def on_distance(order: Order, error: float, values: float) -> None:
        losses[order.wanted, order.type] = error / values if values else 0.0

    def on_done(order: Order) -> None:
        job.progress(len(losses) / len(orders), order.wanted.name)

    if orders:
        quantize(job, orders, on_done=on_done, on_distance=on_distance, step_of=_step)
    return losses


def _step(tensor: Wanted) -> int:
    return -(-prod(tensor.shape) // SAMPLE)


def _write(job: phiworker.Job, lines: dict[str, str]) -> None:
    """One line for each tensor, which is remembered: a later run measures what changed."""
    content = b"[\n"
    for number, (key, line) in enumerate(lines.items()):
        text = line.encode()
        sha256 = hashlib.sha256(text).hexdigest()
        job.remember(key, offset=len(content), size=len(text), sha256=sha256)
        content += text + (b",\n" if number + 1 < len(lines) else b"\n")
    job.output.write_bytes(content + b"]\n")


if __name__ == "__main__":
    phiworker.run(main)
