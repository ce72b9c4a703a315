"""Runs phi-quantize (native/), which quantizes or measures all requested tensors in one run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from phiworker import Job, WorkerError

from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.llama_cpp.programs import ProgramFailure, run_program
from phibuild_gguf.tensors.checkpoint import SOURCE_TYPES, OutputTensor
from phibuild_gguf.tensors.imatrix import Importance

_REQUEST = "request.txt"


class Encoding(NamedTuple):
    """A tensor in a type, and the files and offsets to write it to. Without any it is measured.
    `imatrix` is the file that `importance` lies in."""

    tensor: OutputTensor
    type: GgmlType
    importance: Importance | None
    imatrix: Path | None
    places: tuple[tuple[Path, int], ...]


def quantize(
    job: Job,
    encodings: Sequence[Encoding],
    *,
    on_done: Callable[[Encoding], None],
    on_distance: Callable[[Encoding, float, float], None] = lambda *_: None,
    step_of: Callable[[OutputTensor], int] = lambda _: 1,
) -> None:
    """Write all places. `on_done` is called for each encoding once its bytes are written. An
    encoding without a place is measured: `on_distance` gets the sums of squares of its errors and
    of its values (native/rows.h), computed from every `step_of`th part. A tensor with several
    encodings is read and converted once.

    WorkerError PHI203 for weights that do not fit into F16, PHI401 for weights that are not finite.
    """
    of_tensor: dict[OutputTensor, list[Encoding]] = {}
    for encoding in encodings:
        of_tensor.setdefault(encoding.tensor, []).append(encoding)
    groups = list(of_tensor.values())
    outputs = sorted({path for encoding in encodings for path, _ in encoding.places})
    inputs = {source.path for tensor in of_tensor for source in tensor.sources}
    imatrices = {encoding.imatrix for encoding in encodings if encoding.imatrix is not None}
    files = sorted(inputs | imatrices)
    numbers = {path: number for paths in (outputs, files) for number, path in enumerate(paths)}
    lines = [line for group in groups for line in _lines(group, numbers, step_of(group[0].tensor))]
    (job.scratch / _REQUEST).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    refusals: list[WorkerError] = []

    def on_line(line: re.Match[str]) -> None:
        event, group, details = line[1], groups[int(line[2])], line[3]
        if event == "failed":
            refusals.append(_refusal(group[0].tensor.name, details))
        elif event == "distance":
            target, error, values = details.split()
            on_distance(group[int(target)], float(error), float(values))
        else:
            for encoding in group:
                on_done(encoding)

    arguments = [_REQUEST, job.threads, len(outputs), *outputs, *files]
    try:
        run_program(
            job,
            "phi-quantize",
            [str(argument) for argument in arguments],
            pattern=r"(done|failed|distance) (\d+) ?(.*)\n",
            on_match=on_line,
        )
    except ProgramFailure:
        if refusals:
            raise refusals[0] from None
        raise


def _lines(group: Sequence[Encoding], numbers: Mapping[Path, int], step: int) -> Iterator[str]:
    """The request for one tensor (native/request.h); outputs and files are numbered separately."""
    tensor = group[0].tensor
    sources = tensor.sources
    columns = tensor.shape[0]
    rows = prod(tensor.shape[1:]) // len(sources)
    yield f"tensor {tensor.stored.number} {columns} {rows} {step} {len(sources)} {len(group)}"
    for source in sources:
        kind = SOURCE_TYPES[source.dtype]
        yield f"span {numbers[source.path]} {kind.number} {source.offset}"
    for encoding in group:
        importance = encoding.importance
        places = encoding.places
        yield f"target {encoding.type.number} {len(places)} {int(importance is not None)}"
        for path, offset in places:
            yield f"place {numbers[path]} {offset}"
        if importance is not None and encoding.imatrix is not None:
            values = f"{importance.sums} {importance.counts} {importance.matrices}"
            yield f"imatrix {numbers[encoding.imatrix]} {values}"


def _refusal(name: str, word: str) -> WorkerError:
    if word == "too-large-for-f16":
        return WorkerError(
            f"{name} has weights that are too large for F16",
            hint='write outtype="bf16"; for an unquantized file, quant="BF16"',
            code="PHI203",
        )
    return WorkerError(
        f"{name} has weights that are not finite numbers",
        hint="the checkpoint is damaged: fetch it again, or contact whoever trained it",
    )
