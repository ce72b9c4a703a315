"""A model in several GGUF files of a limited size, as llama-gguf-split makes them.

File names and the three keys are those of tools/gguf-split/gguf-split.cpp: llama.cpp opens the
first file and finds the others. Here the limit holds for whole files, metadata included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from phiworker import WorkerError

from phibuild_gguf.format.layout import TensorPlace, beginning, padded, place_tensors
from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.format.values import int32, uint16

WHOLE = "."
"""The name of the file in an artifact that is a single file."""

Tensors = Sequence[tuple[str, tuple[int, ...], GgmlType]]


class FileLayout(NamedTuple):
    """A file to write: its name in the artifact, the bytes that precede its tensors, and where the
    tensors lie after those."""

    name: str
    start: bytes
    tensors: list[TensorPlace]
    size: int


def file_layouts(
    values: Mapping[str, bytes], tensors: Tensors, *, limit: int | None
) -> list[FileLayout]:
    """The files of an artifact: one, or as many as a limit in bytes requires.

    WorkerError PHI203 if a tensor does not fit under the limit.
    """
    if limit is None:
        places, size = place_tensors(tensors)
        start = beginning(padded(values, places), places)
        return [FileLayout(WHOLE, start, places, len(start) + size)]
    groups = list(_groups(values, tensors, limit))
    files = []
    for number, group in enumerate(groups):
        places, size = place_tensors(group)
        keys = _keys(number, len(groups), len(tensors))
        start = beginning(padded({**values, **keys}, places) if number == 0 else keys, places)
        name = f"model-{number + 1:05}-of-{len(groups):05}.gguf"
        files.append(FileLayout(name, start, places, len(start) + size))
    return files


def _groups(values: Mapping[str, bytes], tensors: Tensors, limit: int) -> Iterator[Tensors]:
    """The tensors of each file in their order, as many as fit. The size of each beginning is that
    of one which describes all tensors."""
    places, _ = place_tensors(tensors)
    keys = _keys(0, len(tensors), len(tensors))
    first = len(beginning(padded({**values, **keys}, places), places))
    room = limit - first
    least, size = 0, 0
    for number, place in enumerate(places):
        _, needed = place_tensors([tensors[number]])
        if size + needed > room and number > least:
            yield tensors[least:number]
            least, size = number, 0
            room = limit - len(beginning(keys, places))
        if needed > room:
            raise WorkerError(
                f"{place.name} does not fit into a file of {limit} bytes",
                hint=f"split_max_size must be at least {limit - room + needed} bytes here",
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
