"""A model in several GGUF files of a limited size, as llama-gguf-split makes them.

Names and the three keys are those of tools/gguf-split/gguf-split.cpp; llama.cpp is given the first
file and finds the others. Unlike there, the limit holds for whole files, metadata included.
Standard library only; a part of the writing worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from phiworker import WorkerError

from phibuild_gguf.format.layout import Placed, beginning, padded, placed
from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.format.values import int32, uint16

WHOLE = "."
"""The name of the only file of an artifact that is a file."""

Tensors = Sequence[tuple[str, tuple[int, ...], GgmlType]]


class Laid(NamedTuple):
    """A file that is to be written: its name in the artifact, all that comes before its tensors,
    and where they lie, counted from there."""

    name: str
    start: bytes
    tensors: list[Placed]
    size: int


def laid_out(values: Mapping[str, bytes], tensors: Tensors, *, limit: int | None) -> list[Laid]:
    """The files of an artifact: one, or with a limit in bytes as many as are needed.

    WorkerError PHI203 for a limit that some tensor does not fit under.
    """
    if limit is None:
        places, size = placed(tensors)
        start = beginning(padded(values, places), places)
        return [Laid(WHOLE, start, places, len(start) + size)]
    groups = list(_groups(values, tensors, limit))
    files = []
    for number, group in enumerate(groups):
        places, size = placed(group)
        keys = _keys(number, len(groups), len(tensors))
        start = beginning(padded({**values, **keys}, places) if number == 0 else keys, places)
        name = f"model-{number + 1:05}-of-{len(groups):05}.gguf"
        files.append(Laid(name, start, places, len(start) + size))
    return files


def _groups(values: Mapping[str, bytes], tensors: Tensors, limit: int) -> Iterator[Tensors]:
    """The tensors of each file in their order, as many as fit. What comes before them is counted
    as if all tensors were described there."""
    places, _ = placed(tensors)
    keys = _keys(0, len(tensors), len(tensors))
    first = len(beginning(padded({**values, **keys}, places), places))
    room = limit - first
    least, size = 0, 0
    for number, one in enumerate(places):
        _, needed = placed([tensors[number]])
        if size + needed > room and number > least:
            yield tensors[least:number]
            least, size = number, 0
            room = limit - len(beginning(keys, places))
        if needed > room:
            raise WorkerError(
                f"{one.name} does not fit into a file of {limit} bytes",
                hint=f"split_max_size is at least {limit - room + needed} bytes for this model",
                code="PHI203",
            )
        size += needed
    yield tensors[least:]


def _keys(number: int, count: int, tensors: int) -> dict[str, bytes]:
    return {
        "split.no": uint16(number),
        "split.tensors.count": int32(tensors),
        "split.count": uint16(count),
    }
