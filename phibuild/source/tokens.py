"""Checks the token ids of a checkpoint against the rows of its embedding."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.model.errors import SourceError
from phibuild.source.reading import read_content, read_object
from phibuild.source.tensors import Memory

_FILES = (
    "tokenizer.json",
    "added_tokens.json",
    "tokenizer_config.json",
    "vocab.json",
    "tokenizer.model",
)
_PIECES = 1
"""The field of a SentencePiece model (sentencepiece_model.proto) that repeats for each token."""


class Token(NamedTuple):
    """A token by its id and text."""

    id: int
    text: str


def check_tokens(
    folder: Path, rows: int, documents: Mapping[str, Mapping[str, Any]], memory: Memory
) -> None:
    """Check each file that names tokens, and the ids that `documents` name, by file and field.

    SourceError PHI109 for an id that has no row.
    """
    for name in _FILES:
        token = _last_token(folder / name, memory)
        if token is not None and token.id >= rows:
            raise _refusal(folder, rows, f"{name} has the token {token.text!r} with id {token.id}")
    for name, fields in documents.items():
        for field, value in fields.items():
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, int) and number >= rows:
                    raise _refusal(folder, rows, f"{field} in {name} is {number}")


def _refusal(folder: Path, rows: int, problem: str) -> SourceError:
    return SourceError(
        f"{folder}: {problem}, and the embedding has {rows} rows: ids up to {rows - 1}",
        hint="resize the embedding (model.resize_token_embeddings) and save model and tokenizer"
        " again, or remove the token",
        code="PHI109",
    )


def _last_token(path: Path, memory: Memory) -> Token | None:
    """The token with the highest id, None for a file that is absent or names none."""
    if not path.exists():
        return None
    known = memory.recall(path, "tokens")
    if known is None:
        seen = memory.signature(path)
        last = max(_tokens(path), default=None)
        known = json.dumps(last)
        memory.record(path, "tokens", known, seen=seen)
    value = json.loads(known)
    return None if value is None else Token(*value)


def _tokens(path: Path) -> Iterator[Token]:
    if path.suffix == ".model":
        count = _pieces(read_content(path))
        if count:
            yield Token(count - 1, f"piece {count - 1}")
        return
    document = read_object(path)
    if path.name in ("vocab.json", "added_tokens.json"):
        yield from _of_vocabulary(document)
    elif path.name == "tokenizer.json":
        model = document.get("model")
        yield from _of_vocabulary(model.get("vocab") if isinstance(model, dict) else None)
        yield from _of_added(document.get("added_tokens"))
    else:
        yield from _of_decoder(document.get("added_tokens_decoder"))


def _of_vocabulary(vocabulary: Any) -> Iterator[Token]:
    """A mapping of text to id, or a list whose indices are the ids."""
    if isinstance(vocabulary, dict):
        for text, number in vocabulary.items():
            if isinstance(number, int):
                yield Token(number, text)
    elif isinstance(vocabulary, list) and vocabulary:
        yield Token(len(vocabulary) - 1, str(vocabulary[-1]))


def _of_added(tokens: Any) -> Iterator[Token]:
    for token in tokens if isinstance(tokens, list) else ():
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            yield Token(token["id"], str(token.get("content")))


def _of_decoder(decoder: Any) -> Iterator[Token]:
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        if str(number).isdecimal():
            content = token.get("content") if isinstance(token, dict) else token
            yield Token(int(number), str(content))


def _pieces(data: bytes) -> int:
    """How many tokens a SentencePiece model has: occurrences of a field at the top of a protobuf
    message (https://protobuf.dev/programming-guides/encoding). 0 for bytes that are not one."""
    at = count = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 != 2:  # a SentencePiece model consists of messages and bytes
            return 0
        size, at = _varint(data, at)
        at += size
        count += tag >> 3 == _PIECES
    return count if at == len(data) else 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    return value, len(data) + 1
