"""A checkpoint for people: its model, the files of each slice, and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.model.action import SLICES, Slice
from phibuild.model.digest import Digest
from phibuild.source.checkpoint import Checkpoint
from phibuild.source.files import (
    CONFIG,
    GENERATION,
    INDEX,
    TEMPLATE,
    TEMPLATES,
    TOKENIZER_BYTES,
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
)
from phibuild.source.ignored import IgnoredFile, ignored_files
from phibuild.source.layout_causes import some_of
from phibuild.source.reading import read_object
from phibuild.source.templates import DEFAULT


class SliceSummary(NamedTuple):
    """A slice with the paths of its files in the checkpoint's folder."""

    name: Slice
    digest: Digest
    files: tuple[str, ...]


class Summary(NamedTuple):
    """`family` is from config.json; `dtypes` counts tensors; `size` is in bytes."""

    family: str
    parameters: int
    size: int
    dtypes: Mapping[str, int]
    slices: tuple[SliceSummary, ...]
    ignored: tuple[IgnoredFile, ...]
    warnings: tuple[str, ...]


def summarize(checkpoint: Checkpoint) -> Summary:
    """Reads file names and small documents, but no weights."""
    ignored = ignored_files(checkpoint)
    return Summary(
        family=_family(checkpoint.documents.architecture),
        parameters=checkpoint.parameters,
        size=checkpoint.size,
        dtypes=dict(sorted(Counter(tensor.dtype for tensor in checkpoint.tensors).items())),
        slices=tuple(
            SliceSummary(name, checkpoint.slices[name], _files_of(checkpoint, name))
            for name in SLICES
        ),
        ignored=ignored,
        warnings=tuple(_warnings(checkpoint, ignored)),
    )


def _family(architecture: Mapping[str, Any]) -> str:
    names = ", ".join(architecture.get("architectures", ()))
    parts = [f"{architecture['model_type']} ({names})" if names else architecture["model_type"]]
    for field, text in (
        ("num_hidden_layers", "{} layers"),
        ("hidden_size", "hidden size {}"),
        ("num_local_experts", "{} experts"),
        ("vocab_size", "vocabulary {}"),
        ("max_position_embeddings", "context {}"),
    ):
        if architecture.get(field) is not None:
            parts.append(text.format(architecture[field]))
    scaling = architecture.get("rope_scaling")
    if scaling:
        parts.append(str(scaling.get("type")))
    return ", ".join(parts)


def _files_of(checkpoint: Checkpoint, name: Slice) -> tuple[str, ...]:
    files = [path.relative_to(checkpoint.folder).as_posix() for path, _ in checkpoint.files]
    shards = {path.name for path in checkpoint.shards}
    in_files = [file for file in files if file == TEMPLATE or file.startswith(f"{TEMPLATES}/")]
    has_template = checkpoint.documents.template is not None
    chosen: Mapping[Slice, set[str]] = {
        "weights": shards | {INDEX},
        "architecture": {CONFIG},
        "tokenizer": {TOKENIZER_CONFIG, *TOKENIZER_JSON, *TOKENIZER_BYTES},
        "chat_template": set(in_files) or ({TOKENIZER_CONFIG} if has_template else set()),
        "generation": {GENERATION, CONFIG},
    }
    return tuple(file for file in files if file in chosen[name])


def _warnings(checkpoint: Checkpoint, ignored: tuple[IgnoredFile, ...]) -> Iterator[str]:
    documents = checkpoint.documents
    names = {path.name for path, _ in checkpoint.files}
    yield from (f"{file.name} is ignored: {file.reason}" for file in ignored if file.warns)
    if checkpoint.leftovers:
        names_left = some_of(checkpoint.leftovers)
        yield f"tensors that are not part of the model are left out: {names_left}"
    if "tokenizer.json" not in names:
        yield (
            "tokenizer.json is missing, which most formats need. AutoTokenizer.from_pretrained"
            "(folder).save_pretrained(folder) writes it"
        )
    if TOKENIZER_CONFIG not in names:
        yield f"{TOKENIZER_CONFIG} is missing: the tokens around a text may be unknown"
    if GENERATION not in names:
        yield f"{GENERATION} is missing: the ends of text are those of {CONFIG}"
    if documents.template is None:
        yield "the chat template is missing: a base model, or a missing file"
    if isinstance(documents.template, list) and not any(
        template["name"] == DEFAULT for template in documents.template
    ):
        yield f"no chat template has the name {DEFAULT}: programs have to choose one by its name"
    if TOKENIZER_CONFIG in names and TOKENIZER_CONFIG not in _files_of(checkpoint, "chat_template"):
        setting = read_object(checkpoint.folder / TOKENIZER_CONFIG).get("chat_template")
        if setting not in (None, documents.template):
            yield f"chat_template in {TOKENIZER_CONFIG} is ignored: template files override it"
    if {"tokenizer.json", "added_tokens.json"} <= names:
        yield from _other_tokens(checkpoint.folder)


def _other_tokens(folder: Path) -> Iterator[str]:
    """Tokens of added_tokens.json that have another id in tokenizer.json, which wins."""
    document = read_object(folder / "tokenizer.json")
    ids = {token["content"]: token["id"] for token in document.get("added_tokens") or ()}
    for text, index in read_object(folder / "added_tokens.json").items():
        if ids.get(text, index) != index:
            yield (
                f"added_tokens.json gives {text!r} the id {index}, tokenizer.json {ids[text]}:"
                " the latter counts"
            )
