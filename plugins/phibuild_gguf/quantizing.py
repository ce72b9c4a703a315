"""Asks phi-quantize (native/) to make tensors of a file, all in one run.

Standard library only; a part of the writing worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from phiworker import Job, WorkerError

if TYPE_CHECKING or __package__:
    from phibuild_gguf.checkpoint_tensors import SOURCE_TYPES, Wanted
    from phibuild_gguf.ggml_types import GgmlType
    from phibuild_gguf.imatrix_entries import Importance
    from phibuild_gguf.programs import Failure, run_program
else:
    from checkpoint_tensors import SOURCE_TYPES, Wanted
    from ggml_types import GgmlType
    from imatrix_entries import Importance
    from programs import Failure, run_program

_REQUEST = "request.txt"


class Order(NamedTuple):
    """A tensor to make at an offset of the output."""

    wanted: Wanted
    type: GgmlType
    offset: int
    importance: Importance | None


def quantize(
    job: Job, orders: Sequence[Order], imatrix: Path | None, *, on_done: Callable[[int], None]
) -> None:
    """Fill the output; `on_done` is told the position of each order once its bytes are there.

    WorkerError PHI203 for weights that do not fit into F16, PHI401 for such as are no numbers.
    """
    paths = sorted({source.path for order in orders for source in order.wanted.sources})
    paths += [imatrix] if imatrix else []
    numbers = {path: number for number, path in enumerate(paths)}
    lines = [line for order in orders for line in _lines(order, numbers, imatrix)]
    (job.scratch / _REQUEST).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    refused: list[tuple[str, str]] = []

    def on_line(line: re.Match[str]) -> None:
        if line[1] == "done":
            on_done(int(line[2]))
        else:
            refused.append((orders[int(line[2])].wanted.name, line[3]))

    try:
        run_program(
            job,
            "phi-quantize",
            [_REQUEST, str(job.output), str(job.threads), *map(str, paths)],
            counter=r"(done|failed) (\d+) ?(\S*)\n",
            on_count=on_line,
        )
    except Failure:
        if refused:
            raise _refusal(*refused[0]) from None
        raise


def _lines(order: Order, numbers: dict[Path, int], imatrix: Path | None) -> list[str]:
    wanted, importance = order.wanted, order.importance
    sources = wanted.sources
    columns = wanted.shape[0]
    rows = prod(wanted.shape[1:]) // len(sources)
    types = f"{wanted.stored.number} {order.type.number}"
    counts = f"{columns} {rows} {order.offset} {len(sources)} {int(importance is not None)}"
    lines = [f"tensor {types} {counts}"]
    lines += [
        f"span {numbers[one.path]} {SOURCE_TYPES[one.dtype].number} {one.offset}" for one in sources
    ]
    if importance is not None and imatrix is not None:
        place = f"{importance.sums} {importance.counts} {importance.matrices}"
        lines.append(f"imatrix {numbers[imatrix]} {place}")
    return lines


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
