"""The tensors of a checkpoint: digests and largest values, read once and remembered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from phibuild.model.digest import Digest
from phibuild.model.errors import SourceError
from phibuild.source.safetensors import Span, read_safetensors_header
from phibuild.threads import in_threads

_BLOCK = 4 << 20


class Memory(Protocol):
    """Facts about files that were read before, known by their stat (the store's index)."""

    def recall(
        self, path: Path, kind: Literal["digest", "json", "weights", "tokens"]
    ) -> str | None: ...

    def record(
        self,
        path: Path,
        kind: Literal["digest", "json", "weights", "tokens"],
        value: str,
        *,
        seen: str,
    ) -> None: ...

    def signature(self, path: Path) -> str: ...


class SourceTensor(NamedTuple):
    """A tensor by content, wherever it is stored: digest and size of its bytes in bytes, and the
    largest absolute value: infinity if a value is infinite or not a number, 0 for a dtype that is
    not floating point."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    digest: Digest
    largest: float


Shards = Mapping[Path, "tuple[Span, ...] | tuple[SourceTensor, ...]"]
"""The tensors of each shard: spans in a file that has to be read, else those remembered."""


def read_headers(shards: tuple[Path, ...], memory: Memory) -> Shards:
    """The tensors of each shard. Of a file that is not remembered only the header is read.

    SourceError PHI102 for a damaged header, and for a tensor that two shards hold.
    """
    tensors: dict[Path, tuple[Span, ...] | tuple[SourceTensor, ...]] = {}
    owners: dict[str, Path] = {}
    for shard in shards:
        text = memory.recall(shard, "weights")
        tensors[shard] = read_safetensors_header(shard).spans if text is None else _from_text(text)
        for tensor in tensors[shard]:
            if owners.setdefault(tensor.name, shard) != shard:
                raise SourceError(
                    f"{shard} repeats tensor {tensor.name!r} of {owners[tensor.name].name}",
                    hint="remove the shards that do not belong to the checkpoint",
                    code="PHI102",
                )
    return tensors


def read_tensors(
    shards: Shards, memory: Memory, on_progress: Callable[[int, int], None] | None
) -> tuple[SourceTensor, ...]:
    """All tensors, sorted by name. Reads the files that are not remembered."""
    unread = [span for spans in shards.values() for span in spans if isinstance(span, Span)]
    total, done = sum(span.size for span in unread), 0
    tensors: list[SourceTensor] = []
    for shard, known in shards.items():
        spans = tuple(tensor for tensor in known if isinstance(tensor, Span))
        if not spans:
            tensors += [tensor for tensor in known if isinstance(tensor, SourceTensor)]
            continue
        seen, read = memory.signature(shard), []
        for tensor in _read(shard, spans):
            read.append(tensor)
            done += tensor.size
            if on_progress is not None:
                on_progress(done, total)
        memory.record(shard, "weights", _to_text(read), seen=seen)
        tensors += read
    return tuple(sorted(tensors))


def _read(shard: Path, spans: tuple[Span, ...]) -> Iterator[SourceTensor]:
    return in_threads(partial(_read_span, shard), spans, most=min(8, os.cpu_count() or 1))


def _read_span(path: Path, span: Span) -> SourceTensor:
    """Reads a span of one file; hashing lets other threads run."""
    from phibuild.source.values import Magnitude  # null builds read no tensor

    digest, magnitude = hashlib.sha256(), Magnitude(span.dtype)
    with path.open("rb", buffering=0) as stream:
        buffer = memoryview(bytearray(min(_BLOCK, max(span.size, 1))))
        stream.seek(span.offset)
        left = span.size
        while left:
            count = stream.readinto(buffer[: min(left, len(buffer))])
            if not count:
                raise SourceError(f"{path} became shorter while it was read", code="PHI106")
            digest.update(buffer[:count])
            magnitude.update(buffer[:count])
            left -= count
    return SourceTensor(
        name=span.name,
        dtype=span.dtype,
        shape=span.shape,
        size=span.size,
        digest=Digest(digest.hexdigest()),
        largest=magnitude.largest,
    )


def _to_text(tensors: list[SourceTensor]) -> str:
    return json.dumps(
        [[t.name, t.dtype, t.shape, t.size, t.digest.hex, t.largest] for t in tensors]
    )


def _from_text(text: str) -> tuple[SourceTensor, ...]:
    return tuple(
        SourceTensor(name, dtype, tuple(shape), size, Digest(hex_digits), largest)
        for name, dtype, shape, size, hex_digits, largest in json.loads(text)
    )
