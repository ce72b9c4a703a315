"""Reads a checkpoint: its files, its tensors, and the digest of each slice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from phibuild.model.action import Slice
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.errors import SourceError
from phibuild.source.architecture import TOKEN_IDS
from phibuild.source.documents import Documents, checked_json, read_documents
from phibuild.source.families import EMBEDDING, FAMILIES, HEAD, ROWS, with_defaults
from phibuild.source.files import (
    CONFIG,
    GENERATION,
    TOKENIZER_BYTES,
    TOKENIZER_JSON,
    CheckpointFiles,
    check_index,
    find_files,
)
from phibuild.source.layout import TensorInfo, check_tensors, is_leftover, torch_dtype
from phibuild.source.reading import read_content, unreadable
from phibuild.source.tensors import Memory, SourceTensor, read_headers, read_tensors
from phibuild.source.tokens import check_tokens


class Checkpoint(NamedTuple):
    """A model in a folder. `files` are all from which a slice was read, with their stat signatures;
    `tensors` are sorted by name. `leftovers` are the names of stored tensors that are not part of
    the model: no worker is shown them."""

    folder: Path
    shards: tuple[Path, ...]
    documents: Documents
    tensors: tuple[SourceTensor, ...]
    leftovers: tuple[str, ...]
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
    """Read the files that `memory` does not know. `on_progress(done, total)` counts bytes of the
    tensors to read; it is not called if there are none.

    SourceError PHI101 to PHI105, PHI113 and PHI114 for what is missing, damaged or unsafe, PHI107
    to PHI109 for parts that do not belong together.
    """
    try:
        return _read(folder, memory, on_progress)
    except OSError as error:  # it was removed or replaced while it was read
        raise unreadable(Path(error.filename or folder), error) from None


def _read(
    folder: Path, memory: Memory, on_progress: Callable[[int, int], None] | None
) -> Checkpoint:
    parts = find_files(folder)
    files = tuple((path, memory.signature(path)) for path in (*parts.documents, *parts.shards))
    documents = read_documents(parts)
    headers = read_headers(parts.shards, memory)
    check_index(parts, {shard: [t.name for t in tensors] for shard, tensors in headers.items()})
    model = [t for tensors in headers.values() for t in tensors if not is_leftover(t.name)]
    documents = _complete(folder, documents, model)
    if documents.architecture["model_type"] in FAMILIES:
        ids = {CONFIG: documents.token_ids, GENERATION: _ids_of(documents)}
        check_tokens(folder, documents.architecture[ROWS], ids, memory)
    stored = read_tensors(headers, memory, on_progress)
    leftovers = _leftovers(folder, documents.architecture, stored)
    tensors = tuple(tensor for tensor in stored if tensor.name not in leftovers)
    _check_values(folder, tensors)
    return Checkpoint(
        folder=folder,
        shards=parts.shards,
        documents=documents,
        tensors=tensors,
        leftovers=leftovers,
        slices=_slices(parts, documents, tensors, memory),
        files=files,
    )


def _complete(folder: Path, documents: Documents, headers: Sequence[TensorInfo]) -> Documents:
    """Check the tensors against config.json; the documents with every field written out for which
    toolkits have different defaults."""
    fields = with_defaults(documents.architecture)
    check_tensors(folder, fields, headers)
    if fields["model_type"] in FAMILIES:
        fields["torch_dtype"] = torch_dtype(headers)
    return documents._replace(architecture=dict(sorted(fields.items())))


def _ids_of(documents: Documents) -> dict[str, Any]:
    settings = documents.generation or {}
    return {name: settings[name] for name in TOKEN_IDS if name in settings}


def _check_values(folder: Path, tensors: tuple[SourceTensor, ...]) -> None:
    for tensor in tensors:
        if math.isinf(tensor.largest):
            raise SourceError(
                f"{folder}: {tensor.name} has values that are infinite or not a number",
                hint="the training run diverged or the file is damaged: use an earlier checkpoint,"
                " or fetch the file again",
                code="PHI108",
            )


def _leftovers(
    folder: Path, fields: Mapping[str, Any], tensors: tuple[SourceTensor, ...]
) -> tuple[str, ...]:
    """Names of stored tensors that the model does not have: rotary tables, and a tied head that is
    stored again. SourceError PHI107 if that head is not the embedding."""
    named = {tensor.name: tensor for tensor in tensors}
    names = [name for name in named if is_leftover(name)]
    if fields.get("tie_word_embeddings") and HEAD in named and EMBEDDING in named:
        if named[HEAD].digest != named[EMBEDDING].digest:
            raise SourceError(
                f"{folder}: config.json says tie_word_embeddings, and {HEAD} is not {EMBEDDING}",
                hint='write "tie_word_embeddings": false into config.json if the head was trained;'
                f" else save the model again without {HEAD}",
                code="PHI107",
            )
        names.append(HEAD)
    return tuple(names)


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
            [[t.name, t.dtype, list(t.shape), str(t.digest)] for t in tensors]
        ),
        "architecture": digest_of_value(documents.architecture),
        "tokenizer": digest_of_value(tokenizer),
        "chat_template": digest_of_value(documents.template),
        "generation": digest_of_value([documents.generation, documents.token_ids]),
    }


def slice_items(checkpoint: Checkpoint, name: Slice) -> dict[str, str]:
    """The parts of a slice by name, for explanations: tensors, files, or fields as JSON."""
    documents = checkpoint.documents
    if name == "weights":
        return {
            tensor.name: f"{tensor.dtype} {list(tensor.shape)} {tensor.digest.short}"
            for tensor in checkpoint.tensors
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
        known = str(Digest.of(checked_json(path) if as_json else read_content(path)))
        memory.record(path, kind, known, seen=seen)
    return known
