"""Asks phi-quantize (native/) to make or to measure tensors, all in one run.

Standard library only; a part of the workers that write and that measure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from phiworker import Job, WorkerError

from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.llama_cpp.programs import Failure, run_program
from phibuild_gguf.tensors.checkpoint import SOURCE_TYPES, Wanted
from phibuild_gguf.tensors.imatrix import Importance

_REQUEST = "request.txt"


class Order(NamedTuple):
    """A tensor in one form, and all places for it: files and offsets in them. Without a place it is
    measured. `imatrix` is the file that `importance` lies in."""

    wanted: Wanted
    type: GgmlType
    importance: Importance | None
    imatrix: Path | None
    places: tuple[tuple[Path, int], ...]


def quantize(
    job: Job,
    orders: Sequence[Order],
    *,
    on_done: Callable[[Order], None],
    on_distance: Callable[[Order, float, float], None] = lambda *_: None,
    step_of: Callable[[Wanted], int] = lambda _: 1,
) -> None:
    """Fill all places; `on_done` is told each order once its bytes are there, and `on_distance`
    before that, for an order without a place, the sums of squares of its errors and of its values
    (native/rows.h). A tensor that is wanted in several forms is read and converted once; of its
    parts every `step_of`th.

    WorkerError PHI203 for weights that do not fit into F16, PHI401 for such as are no numbers.
    """
    of_tensor: dict[Wanted, list[Order]] = {}
    for order in orders:
        of_tensor.setdefault(order.wanted, []).append(order)
    groups = list(of_tensor.values())
    outputs = sorted({path for order in orders for path, _ in order.places})
    read = {source.path for order in orders for source in order.wanted.sources}
    files = sorted(read | {order.imatrix for order in orders if order.imatrix is not None})
    numbers = {path: number for number, path in enumerate(outputs)} | {
        path: number for number, path in enumerate(files)
    }
    lines = [line for group in groups for line in _lines(group, numbers, step_of(group[0].wanted))]
    (job.scratch / _REQUEST).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    refused: list[tuple[str, str]] = []

    def on_line(line: re.Match[str]) -> None:
        group = groups[int(line[2])]
        if line[1] == "failed":
            refused.append((group[0].wanted.name, line[3]))
            return
        if line[1] == "distance":
            target, error, values = line[3].split()
            on_distance(group[int(target)], float(error), float(values))
            return
        for order in group:
            on_done(order)

    arguments = [_REQUEST, job.threads, len(outputs), *outputs, *files]
    try:
        run_program(
            job,
            "phi-quantize",
            [str(one) for one in arguments],
            counter=r"(done|failed|distance) (\d+) ?(.*)\n",
            on_count=on_line,
        )
    except Failure:
        if refused:
            raise _refusal(*refused[0]) from None
        raise


def _lines(group: Sequence[Order], numbers: Mapping[Path, int], step: int) -> Iterator[str]:
    """The request for one tensor (native/request.h); outputs and files are numbered apart."""
    wanted = group[0].wanted
    sources = wanted.sources
    columns = wanted.shape[0]
    rows = prod(wanted.shape[1:]) // len(sources)
    yield f"tensor {wanted.stored.number} {columns} {rows} {step} {len(sources)} {len(group)}"
    for one in sources:
        yield f"span {numbers[one.path]} {SOURCE_TYPES[one.dtype].number} {one.offset}"
    for order in group:
        importance = order.importance
        yield f"target {order.type.number} {len(order.places)} {int(importance is not None)}"
        for path, offset in order.places:
            yield f"place {numbers[path]} {offset}"
        if importance is not None and order.imatrix is not None:
            at = f"{importance.sums} {importance.counts} {importance.matrices}"
            yield f"imatrix {numbers[order.imatrix]} {at}"


def _refusal(name: str, word: str) -> WorkerError:
    if word == "too-large-for-f16":
        return WorkerError(
            f"{name} has weights that are too large for F16",
            hint='write outtype="bf16"; for an unquantized file, quant="BF16"',
            code="PHI203",
        )
    return WorkerError(
        f"{name} has weights that are no finite numbers",
        hint="the checkpoint is damaged: fetch it again, or ask whoever trained it",
    )
