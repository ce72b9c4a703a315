"""The types of the fields that a build reads in the JSON files of a checkpoint.

A field of another type is refused here, with file and name: toolkits would treat it differently.
Fields that no toolkit reads may hold anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.model.errors import SourceError
from phibuild.source.reading import kind_of

_LONGEST_ID = 10


class Kind(NamedTuple):
    """The values that a field may have beside null: in words, and as a test."""

    name: str
    holds: Callable[[Any], bool]


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_int(value) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_ids(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, list) and value != [] and all(map(_is_int, value)))


def _is_token(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, dict) and isinstance(value.get("content"), str)
    )


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_token, value))


def _is_decoder(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_id(key) and isinstance(token, dict) and _is_token(token) for key, token in value.items()
    )


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_ID


def _are_added(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(token, dict) and _is_token(token) and _is_count(token.get("id"))
        for token in value
    )


def _is_model(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("vocab"), dict | list)


def _is_rope(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), str | None) for name in ("type", "rope_type")
    )


INTEGER = Kind("an integer", _is_int)
COUNT = Kind("an integer from 0 on", _is_count)
NUMBER = Kind("a number", _is_number)
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
STRING = Kind("a string", lambda value: isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))
ROPE = Kind("an object with a type", _is_rope)
STRINGS = Kind(
    "a list of strings",
    lambda value: isinstance(value, list) and all(isinstance(text, str) for text in value),
)
IDS = Kind("a token id or a list of them", _is_ids)
TOKEN = Kind("a token: a string, or an object with content", _is_token)
TOKENS = Kind("a list of tokens", _are_tokens)
NAMED_TOKENS = Kind(
    "a list or an object of tokens",
    lambda value: (
        _are_tokens(value) or (isinstance(value, dict) and all(map(_is_token, value.values())))
    ),
)
DECODER = Kind("an object of tokens by their ids", _is_decoder)
ADDED = Kind("a list of tokens with content and id", _are_added)
MODEL = Kind("an object with a vocab", _is_model)

_TOKEN_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
CONFIG_FIELDS: Mapping[str, Kind] = {
    **dict.fromkeys(("model_type", "hidden_act", "torch_dtype", "dtype"), STRING),
    **dict.fromkeys(
        (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "max_position_embeddings",
            "original_max_position_embeddings",
            "sliding_window",
            "num_local_experts",
            "num_experts_per_tok",
        ),
        COUNT,
    ),
    **dict.fromkeys(
        ("rope_theta", "partial_rotary_factor", "rms_norm_eps", "layer_norm_eps", "embd_pdrop"),
        NUMBER,
    ),
    **dict.fromkeys(
        ("tie_word_embeddings", "attention_bias", "lm_head_bias", "qk_layernorm"), TRUTH
    ),
    **dict.fromkeys(("rope_scaling", "rope_parameters"), ROPE),
    "quantization_config": OBJECT,
    "architectures": STRINGS,
    "transformers_weights": STRING,
    "bos_token_id": IDS,
    "eos_token_id": IDS,
    "pad_token_id": IDS,
}
GENERATION_FIELDS: Mapping[str, Kind] = {
    "bos_token_id": IDS,
    "eos_token_id": IDS,
    "pad_token_id": IDS,
    "do_sample": TRUTH,
    "top_k": INTEGER,
    **dict.fromkeys(("temperature", "top_p", "min_p", "repetition_penalty"), NUMBER),
}
TOKENIZER_FIELDS: Mapping[str, Kind] = {
    **dict.fromkeys((f"{role}_token" for role in _TOKEN_ROLES), TOKEN),
    **dict.fromkeys(("add_bos_token", "add_eos_token", "legacy"), TRUTH),
    "added_tokens_decoder": DECODER,
    "additional_special_tokens": TOKENS,
    "extra_special_tokens": NAMED_TOKENS,
    "model_max_length": NUMBER,
    "tokenizer_class": STRING,
    "padding_side": STRING,
}
VOCABULARY_FIELDS: Mapping[str, Mapping[str, Kind]] = {
    "tokenizer.json": {"added_tokens": ADDED, "model": MODEL},
    "special_tokens_map.json": dict.fromkeys((f"{role}_token" for role in _TOKEN_ROLES), TOKEN),
}
"""The fields of the JSON files that the slice of the tokenizer has as files."""


def check_fields(path: Path, document: Mapping[str, Any], kinds: Mapping[str, Kind]) -> None:
    """SourceError PHI103 for the first field whose value is of another kind; null is absent."""
    for name, kind in kinds.items():
        value = document.get(name)
        if value is not None and not kind.holds(value):
            text = repr(value)
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            raise SourceError(
                f"{path}: {name} is {shown}, {kind_of(value)}, and should be {kind.name}",
                hint="correct the field, or use the file of the published checkpoint",
                code="PHI103",
            )
