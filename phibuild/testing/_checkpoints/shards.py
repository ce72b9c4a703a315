"""The safetensors files of a checkpoint, written and read as one list of tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from phibuild.source.safetensors import Span, encode_header, read_safetensors_header

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
BYTES_PER_VALUE = {"BF16": 2, "F16": 2, "F32": 4}
COPY = 1 << 24


@dataclass(frozen=True, slots=True)
class WritableTensor:
    """A tensor to write: its dtype, its shape, and its bytes when they are requested."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterable[bytes | memoryview]]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * BYTES_PER_VALUE[self.dtype]


def write_shards(folder: Path, tensors: Sequence[WritableTensor], shards: int) -> None:
    """Replace the folder's safetensors by these tensors, spread over files of about one size.

    New files are written beside the old ones, which the tensors may still read, and renamed over.
    """
    if not 1 <= shards <= len(tensors):
        raise ValueError(f"{len(tensors)} tensors cannot be spread over {shards} shards")
    old = set(shard_paths(folder))
    new: dict[Path, Path] = {}
    weight_map: dict[str, str] = {}
    for number, part in enumerate(spread(tensors, shards), 1):
        name = SINGLE if shards == 1 else f"model-{number:05}-of-{shards:05}.safetensors"
        beside = folder / f".{name}.new"
        write_shard(beside, part)
        new[folder / name] = beside
        weight_map |= {tensor.name: name for tensor in part}
    for path, beside in new.items():
        beside.replace(path)
    for path in old - new.keys():
        path.unlink()
    (folder / INDEX).unlink(missing_ok=True)
    if shards > 1:
        total = sum(tensor.size for tensor in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def spread(tensors: Sequence[WritableTensor], shards: int) -> Iterator[Sequence[WritableTensor]]:
    """Cut the sequence where the parts come nearest to one size; no part is empty."""
    ends = list(accumulate(tensor.size for tensor in tensors))
    start = 0
    for number in range(1, shards):
        goal = ends[-1] * number / shards
        latest = len(tensors) - (shards - number)
        end = min(range(start + 1, latest + 1), key=lambda end: abs(ends[end - 1] - goal))
        yield tensors[start:end]
        start = end
    yield tensors[start:]


def write_shard(path: Path, tensors: Sequence[WritableTensor]) -> None:
    header = encode_header((t.name, t.dtype, t.shape, t.size) for t in tensors)
    with path.open("wb") as file:
        file.write(header)
        for tensor in tensors:
            for chunk in tensor.chunks():
                file.write(chunk)


def shard_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def spans_of(folder: Path) -> Iterator[tuple[Path, Span]]:
    """The place of each tensor, in the order of their bytes."""
    for path in shard_paths(folder):
        for span in read_safetensors_header(path).spans:
            yield path, span


def read_tensors(folder: Path) -> list[WritableTensor]:
    """The tensors of all shards in the order of their bytes; only headers are read yet."""
    return [
        WritableTensor(span.name, span.dtype, span.shape, partial(read_chunks, path, span))
        for path, span in spans_of(folder)
    ]


def read_chunks(path: Path, span: Span) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(span.offset)
        left = span.size
        while left:
            chunk = file.read(min(left, COPY))
            if not chunk:
                raise ValueError(f"{path} is truncated")
            left -= len(chunk)
            yield chunk
