"""The safetensors files of a checkpoint: written and read as a list of tensors, however spread."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
BYTES_PER_VALUE = {"BF16": 2, "F16": 2, "F32": 4}
COPY = 1 << 24


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor to write: its dtype, its shape, and its bytes when they are asked for."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    chunks: Callable[[], Iterable[bytes | memoryview]]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * BYTES_PER_VALUE[self.dtype]


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a tensor's bytes lie."""

    path: Path
    offset: int
    length: int

    def chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.length
            while left:
                chunk = file.read(min(left, COPY))
                if not chunk:
                    raise ValueError(f"{self.path} is truncated")
                left -= len(chunk)
                yield chunk


def write_shards(folder: Path, tensors: Sequence[Tensor], shards: int) -> None:
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


def spread(tensors: Sequence[Tensor], shards: int) -> Iterator[Sequence[Tensor]]:
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


def write_shard(path: Path, tensors: Sequence[Tensor]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": (offset, offset + tensor.size),
        }
        offset += tensor.size
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in tensors:
            for chunk in tensor.chunks():
                file.write(chunk)


def shard_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def read_tensors(folder: Path) -> list[Tensor]:
    """The tensors of all shards in the order of their bytes; only headers are read yet."""
    return [tensor for tensor, _ in read_extents(folder)]


def read_extents(folder: Path) -> list[tuple[Tensor, Extent]]:
    """The tensors with the places where their bytes lie."""
    return [found for path in shard_paths(folder) for found in read_header(path)]


def read_header(path: Path) -> list[tuple[Tensor, Extent]]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    found = []
    for name, fields in header.items():
        start, end = fields["data_offsets"]
        extent = Extent(path, 8 + length + start, end - start)
        found.append((Tensor(name, fields["dtype"], tuple(fields["shape"]), extent.chunks), extent))
    return sorted(found, key=lambda tensor_extent: tensor_extent[1].offset)
