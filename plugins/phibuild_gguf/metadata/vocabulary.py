"""What a checkpoint's tokenizer decides in a GGUF file: its name, and how text is split.

llama.cpp decides by `general.name` how it reads special tokens: if the name contains `phi-3` or
`phi3`, blanks after them are dropped, and the model fails to load without `</s>`
(src/llama-vocab.cpp). The name therefore follows the tokenizer.
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
    value: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return value


def plain_name(model: Path) -> str:
    """Phi or Phi-3: the general.name with which llama.cpp reads special tokens as the checkpoint's
    tokenizer does."""
    added = _added_tokens(model)
    loads = {token["content"] for token in added} >= _NAMED_IN_LLAMA_CPP
    return "Phi-3" if loads and any(token.get("rstrip") for token in added) else "Phi"


def checked_name(plain: str, name: str | None) -> str:
    """The requested general.name, or the plain one; WorkerError PHI203 for a name with which
    llama.cpp reads special tokens differently."""
    if name is None or _is_phi3(name) == _is_phi3(plain):
        return name or plain
    if _is_phi3(name):
        raise WorkerError(
            f"with model_name={name!r} llama.cpp expects the special tokens of Phi-3 and drops the"
            " blanks after them; this checkpoint's tokenizer lacks these tokens or keeps the"
            " blanks",
            hint="choose a model_name without phi-3 in it, or leave it out",
            code="PHI203",
        )
    raise WorkerError(
        f"with model_name={name!r} llama.cpp keeps the blanks after special tokens; this"
        " checkpoint's tokenizer drops them",
        hint="choose a model_name with phi-3 in it, or leave it out",
        code="PHI203",
    )


def _is_phi3(name: str) -> bool:
    return "phi-3" in name.lower() or "phi3" in name.lower()


def is_sentencepiece(model: Path) -> bool:
    """Whether the vocabulary is SentencePiece's; WorkerError PHI204 if it is not byte-level
    either."""
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
    """llama.cpp's name for how text is split; WorkerError PHI204 if it is not recognised."""
    name = recognised(read_json(model / "tokenizer.json"))
    if name is None:
        raise WorkerError(
            "llama.cpp does not recognise how this tokenizer splits text",
            hint='give the equivalent in pre_tokenizer, such as pre_tokenizer="gpt-4o"',
            code="PHI204",
        )
    return name


def _added_tokens(model: Path) -> list[dict[str, Any]]:
    tokenizer = read_json(model / "tokenizer.json")
    if tokenizer:
        return list(tokenizer.get("added_tokens", ()))
    decoder = read_json(model / "tokenizer_config.json").get("added_tokens_decoder", {})
    return list(decoder.values())
