"""Reading a checkpoint: which files it has, its tensors, and the digest of each slice."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from phibuild.model.action import Slice
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.errors import SourceError
from phibuild.source.documents import Documents, checked_json, read_documents
from phibuild.source.files import (
    TOKENIZER_BYTES,
    TOKENIZER_JSON,
    CheckpointFiles,
    check_index,
    find_files,
)
from phibuild.source.safetensors import Span, read_spans

_BLOCK = 4 << 20


class Memory(Protocol):
    """What was learnt of files before, by their stat (the store's index)."""

    def recall(self, path: Path, kind: Literal["digest", "json", "tensors"]) -> str | None: ...

    def record(
        self, path: Path, kind: Literal["digest", "json", "tensors"], value: str, *, seen: str
    ) -> None: ...

    def signature(self, path: Path) -> str: ...


class SourceTensor(NamedTuple):
    """A tensor by content: digest and size of its bytes in bytes, wherever it is stored."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    digest: Digest


class Checkpoint(NamedTuple):
    """A model in a folder. `files` are all that any slice was read from, with the stat signature
    that they had; `tensors` are sorted by name."""

    folder: Path
    shards: tuple[Path, ...]
    documents: Documents
    tensors: tuple[SourceTensor, ...]
    slices: Mapping[Slice, Digest]
    files: tuple[tuple[Path, str], ...]

    @property
    def parameters(self) -> int:
        """Number of weights, tied ones counted once as they are stored."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size for tensor in self.tensors)


def read_checkpoint(
    folder: Path, memory: Memory, *, on_progress: Callable[[int, int], None] | None = None
) -> Checkpoint:
    """Read what is not remembered. `on_progress(done, total)` counts bytes of tensors that must be
    read; it is not called when nothing must.

    SourceError PHI1xx for what is missing, damaged or unsafe.
    """
    parts = find_files(folder)
    files = tuple((path, memory.signature(path)) for path in (*parts.documents, *parts.shards))
    documents = read_documents(parts)
    tensors = _tensors(parts, memory, on_progress)
    return Checkpoint(
        folder=folder,
        shards=parts.shards,
        documents=documents,
        tensors=tensors,
        slices=_slices(parts, documents, tensors, memory),
        files=files,
    )


def _slices(
    files: CheckpointFiles,
    documents: Documents,
    tensors: tuple[SourceTensor, ...],
    memory: Memory,
) -> dict[Slice, Digest]:
    tokenizer: dict[str, Any] = {"tokenizer_config.json": documents.tokenizer_config}
    for name in (*TOKENIZER_JSON, *TOKENIZER_BYTES):
        if files.has(name):
            path = files.folder / name
            tokenizer[name] = _file_digest(path, memory, as_json=name in TOKENIZER_JSON)
    return {
        "weights": digest_of_value(
            [[one.name, one.dtype, list(one.shape), str(one.digest)] for one in tensors]
        ),
        "architecture": digest_of_value(documents.architecture),
        "tokenizer": digest_of_value(tokenizer),
        "chat_template": digest_of_value(documents.template),
        "generation": digest_of_value([documents.generation, documents.token_ids]),
    }


def slice_items(checkpoint: Checkpoint, name: Slice) -> dict[str, str]:
    """What a slice consists of, by name: tensors, files, or fields as JSON. For explanations."""
    documents = checkpoint.documents
    if name == "weights":
        return {
            one.name: f"{one.dtype} {list(one.shape)} {one.digest.short}"
            for one in checkpoint.tensors
        }
    fields: Mapping[str, Any] = {
        "architecture": documents.architecture,
        "tokenizer": documents.tokenizer_config or {},
        "generation": documents.token_ids | (documents.generation or {}),
        "chat_template": {},
    }[name]
    return {field: json.dumps(value, sort_keys=True) for field, value in fields.items()}


def _file_digest(path: Path, memory: Memory, *, as_json: bool) -> str:
    kind: Literal["json", "digest"] = "json" if as_json else "digest"
    known = memory.recall(path, kind)
    if known is None:
        seen = memory.signature(path)
        known = str(Digest.of(checked_json(path) if as_json else path.read_bytes()))
        memory.record(path, kind, known, seen=seen)
    return known


def _tensors(
    files: CheckpointFiles, memory: Memory, on_progress: Callable[[int, int], None] | None
) -> tuple[SourceTensor, ...]:
    known = {shard: memory.recall(shard, "tensors") for shard in files.shards}
    unread = {shard: read_spans(shard) for shard, text in known.items() if text is None}
    total = sum(span.size for spans in unread.values() for span in spans)
    done = 0
    found: dict[str, SourceTensor] = {}
    names: dict[Path, list[str]] = {}
    for shard, text in known.items():
        if text is None:
            seen = memory.signature(shard)
            tensors = []
            for tensor in _read(shard, unread[shard]):
                tensors.append(tensor)
                done += tensor.size
                if on_progress is not None:
                    on_progress(done, total)
            memory.record(shard, "tensors", _to_text(tensors), seen=seen)
        else:
            tensors = _from_text(text)
        names[shard] = [tensor.name for tensor in tensors]
        for tensor in tensors:
            if tensor.name in found:
                raise SourceError(
                    f"{shard} repeats tensor {tensor.name!r} of another shard",
                    hint="remove the shards that do not belong to the checkpoint",
                    code="PHI102",
                )
            found[tensor.name] = tensor
    check_index(files, names)
    return tuple(found[name] for name in sorted(found))


def _read(shard: Path, spans: tuple[Span, ...]) -> Iterator[SourceTensor]:
    read = _Reader(shard)
    try:
        from concurrent.futures import ThreadPoolExecutor  # logging and more: not for a null build

        pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
        tensors = pool.map(read, spans)
    except RuntimeError:  # Python ends, which is when a plan is written, and starts no more threads
        yield from map(read, spans)
        return
    with pool:
        yield from tensors


@dataclass(frozen=True, slots=True)
class _Reader:
    """Takes the digest of a span of one file; hashing lets other threads run."""

    path: Path

    def __call__(self, span: Span) -> SourceTensor:
        digest = hashlib.sha256()
        with self.path.open("rb", buffering=0) as stream:
            buffer = memoryview(bytearray(min(_BLOCK, max(span.size, 1))))
            stream.seek(span.begin)
            left = span.size
            while left:
                count = stream.readinto(buffer[: min(left, len(buffer))])
                if not count:
                    raise SourceError(
                        f"{self.path} became shorter while it was read", code="PHI106"
                    )
                digest.update(buffer[:count])
                left -= count
        return SourceTensor(
            span.name, span.dtype, span.shape, span.size, Digest(digest.hexdigest())
        )


def _to_text(tensors: list[SourceTensor]) -> str:
    return json.dumps([[t.name, t.dtype, t.shape, t.size, t.digest.hex] for t in tensors])


def _from_text(text: str) -> list[SourceTensor]:
    return [
        SourceTensor(name, dtype, tuple(shape), size, Digest(hex_digits))
        for name, dtype, shape, size, hex_digits in json.loads(text)
    ]
