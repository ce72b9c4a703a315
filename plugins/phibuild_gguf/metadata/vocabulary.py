"""What a checkpoint's tokenizer asks of a GGUF file: its name, and how text is split.

llama.cpp keeps the attributes of special tokens in its source: a model whose general.name has
`phi-3` or `phi3` in it loses the blanks after its special tokens, any other keeps them, and one
without `</s>` fails to load under such a name (src/llama-vocab.cpp). The name is therefore taken
from the tokenizer. Standard library only; runs in the converting worker.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phiworker import WorkerError

from phibuild_gguf.metadata.pre_tokenizers import is_byte_level, recognised

_NAMED_IN_LLAMA_CPP = {"</s>", "<unk>", "<s>", "<|endoftext|>"}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, empty if the file is not there."""
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def plain_name(model: Path) -> str:
    """The plainest general.name under which llama.cpp reads special tokens as the checkpoint's
    tokenizer does."""
    added = _added_tokens(model)
    loads = {token["content"] for token in added} >= _NAMED_IN_LLAMA_CPP
    return "Phi-3" if loads and any(token.get("rstrip") for token in added) else "Phi"


def checked_name(plain: str, asked: str | None) -> str:
    """The general.name that is asked for, or the plain one; WorkerError PHI203 for a name under
    which llama.cpp reads special tokens otherwise."""
    if asked is None or _as_phi3(asked) == _as_phi3(plain):
        return asked or plain
    if _as_phi3(asked):
        raise WorkerError(
            f"under the name {asked!r} llama.cpp expects the special tokens of Phi-3 and takes"
            " away the blanks after them; this checkpoint's tokenizer lacks these tokens, or keeps"
            " the blanks",
            hint="choose a model_name without phi-3 in it, or leave model_name away",
            code="PHI203",
        )
    raise WorkerError(
        f"under the name {asked!r} llama.cpp keeps the blanks after special tokens, and this"
        " checkpoint's tokenizer takes them away",
        hint="choose a model_name with phi-3 in it, or leave model_name away",
        code="PHI203",
    )


def _as_phi3(name: str) -> bool:
    return "phi-3" in name.lower() or "phi3" in name.lower()


def is_sentencepiece(model: Path) -> bool:
    """Whether the vocabulary is SentencePiece's; WorkerError PHI204 if it is neither that nor a
    byte-level one."""
    if (model / "tokenizer.model").is_file():
        return True
    if is_byte_level(read_json(model / "tokenizer.json")):
        return False
    raise WorkerError(
        "the tokenizer has neither a tokenizer.model nor a byte-level tokenizer.json",
        hint="add the tokenizer.model that the checkpoint was published with",
        code="PHI204",
    )


def pre_tokenizer(model: Path) -> str:
    """llama.cpp's name for the way of splitting; WorkerError PHI204 if it is not recognised."""
    found = recognised(read_json(model / "tokenizer.json"))
    if found is None:
        raise WorkerError(
            "llama.cpp has no name for the way in which this tokenizer splits text",
            hint="name the one that splits alike by the field pre_tokenizer, for instance"
            ' pre_tokenizer="gpt-4o"',
            code="PHI204",
        )
    return found


def _added_tokens(model: Path) -> list[dict[str, Any]]:
    tokenizer = read_json(model / "tokenizer.json")
    if tokenizer:
        return list(tokenizer.get("added_tokens", ()))
    decoder = read_json(model / "tokenizer_config.json").get("added_tokens_decoder", {})
    return list(decoder.values())
