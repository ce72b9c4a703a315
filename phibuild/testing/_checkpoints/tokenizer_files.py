"""The tokenizer files of a checkpoint, as published or as transformers 5 saves them."""

from __future__ import annotations

import json
from typing import Any, Literal

from phibuild.testing._checkpoints.families import TokenizerKind
from phibuild.testing._checkpoints.sentencepiece_model import sentencepiece_model
from phibuild.testing._checkpoints.tokenizers import AddedToken, Tokenizer

Spelling = Literal["published", "transformers5"]

PUBLISHED_CLASSES = {
    "phi-2": "CodeGenTokenizer",
    "phi-3": "LlamaTokenizer",
    "phi-4-mini": "GPT2Tokenizer",
}

# The o200k pattern, cut where its alternatives end.
GPT_4O_PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


def vocabulary_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """What turns text into ids, the same in both spellings."""
    files = {"tokenizer.json": as_json(tokenizer_json(tokenizer))}
    if tokenizer.kind == "phi-3":
        files["tokenizer.model"] = sentencepiece_model(tokenizer.vocabulary.pieces)
    return files


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    vocabulary = tokenizer.vocabulary
    sentencepiece = tokenizer.kind == "phi-3"
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": token.id, **token_fields(token)} for token in tokenizer.added],
        **(SENTENCEPIECE_STAGES if sentencepiece else byte_level_stages(tokenizer.kind)),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": tokenizer.unk if sentencepiece else None,
            "continuing_subword_prefix": None if sentencepiece else "",
            "end_of_word_suffix": None if sentencepiece else "",
            "fuse_unk": sentencepiece,
            "byte_fallback": sentencepiece,
            "vocab": model_vocab(tokenizer),
            "merges": [" ".join(pair) for pair in vocabulary.merges],
        },
    }


def model_vocab(tokenizer: Tokenizer) -> dict[str, int]:
    """Pieces with their ids; GPT-2 counts its end of text among them."""
    vocab = {piece: index for index, piece in enumerate(tokenizer.vocabulary.pieces)}
    if tokenizer.kind != "phi-3":
        vocab[tokenizer.eos] = tokenizer.id_of(tokenizer.eos)
    return vocab


SENTENCEPIECE_STAGES: dict[str, Any] = {
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    },
    "pre_tokenizer": None,
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {},
    },
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    },
}


def byte_level_stages(kind: TokenizerKind) -> dict[str, Any]:
    def byte_level(*, use_regex: bool) -> dict[str, Any]:
        return {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": use_regex,
        }

    split = {
        "type": "Split",
        "pattern": {"Regex": GPT_4O_PATTERN},
        "behavior": "Removed",
        "invert": True,
    }
    gpt_4o = {"type": "Sequence", "pretokenizers": [split, byte_level(use_regex=False)]}
    return {
        "normalizer": None,
        "pre_tokenizer": gpt_4o if kind == "phi-4-mini" else byte_level(use_regex=True),
        "post_processor": byte_level(use_regex=True),
        "decoder": byte_level(use_regex=True),
    }


def token_fields(token: AddedToken) -> dict[str, Any]:
    return {
        "content": token.content,
        "lstrip": False,
        "normalized": token.normalized,
        "rstrip": token.rstrip,
        "single_word": False,
        "special": token.special,
    }


def setting_files(
    tokenizer: Tokenizer, *, context: int, chat_template: str, spelling: Spelling
) -> dict[str, bytes]:
    """What belongs to the spelling; an empty chat template is none."""
    if spelling == "published":
        return published_settings(tokenizer, context=context, chat_template=chat_template)
    return transformers5_settings(tokenizer, context=context, chat_template=chat_template)


def published_settings(
    tokenizer: Tokenizer, *, context: int, chat_template: str
) -> dict[str, bytes]:
    settings = common_settings(tokenizer, context=context) | {
        "added_tokens_decoder": {str(token.id): token_fields(token) for token in tokenizer.added},
        "tokenizer_class": PUBLISHED_CLASSES[tokenizer.kind],
    }
    if tokenizer.kind != "phi-2":
        settings |= {"add_bos_token": False, "add_eos_token": False}
    if chat_template:
        settings["chat_template"] = chat_template
    fields = {token.content: token_fields(token) for token in tokenizer.added}
    mapped = {
        role: {name: value for name, value in fields[content].items() if name != "special"}
        for role, content in roles(tokenizer).items()
    }
    beyond = {
        token.content: token.id
        for token in tokenizer.added
        if token.content not in model_vocab(tokenizer)
    }
    files = {
        "added_tokens.json": as_json(beyond),
        "special_tokens_map.json": as_json(mapped),
        "tokenizer_config.json": as_json(dict(sorted(settings.items()))),
    }
    if tokenizer.kind != "phi-3":
        merges = "".join(f"{left} {right}\n" for left, right in tokenizer.vocabulary.merges)
        files["merges.txt"] = f"#version: 0.2\n{merges}".encode()
        files["vocab.json"] = as_json(model_vocab(tokenizer))
    return files


def transformers5_settings(
    tokenizer: Tokenizer, *, context: int, chat_template: str
) -> dict[str, bytes]:
    settings = common_settings(tokenizer, context=context) | {
        "backend": "tokenizers",
        "is_local": True,
        "tokenizer_class": "TokenizersBackend",
    }
    files = {"tokenizer_config.json": as_json(dict(sorted(settings.items())))}
    if chat_template:
        files["chat_template.jinja"] = chat_template.encode()
    return files


def common_settings(tokenizer: Tokenizer, *, context: int) -> dict[str, Any]:
    settings = {
        **roles(tokenizer),
        "clean_up_tokenization_spaces": tokenizer.kind == "phi-2",
        "model_max_length": context,
    }
    if tokenizer.kind == "phi-3":
        return settings | {
            "legacy": False,
            "padding_side": "left",
            "sp_model_kwargs": {},
            "use_default_system_prompt": False,
        }
    return settings | {"add_prefix_space": False}


def roles(tokenizer: Tokenizer) -> dict[str, str]:
    """The special tokens by the part they play."""
    tokens = {"bos_token": tokenizer.bos, "eos_token": tokenizer.eos, "unk_token": tokenizer.unk}
    return tokens | ({"pad_token": tokenizer.pad} if tokenizer.pad else {})


def as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
