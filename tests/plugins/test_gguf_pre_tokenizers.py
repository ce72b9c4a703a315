"""llama.cpp's names for how a tokenizer splits text."""

from __future__ import annotations

from typing import Any

import pytest
from phibuild_gguf.metadata.pre_tokenizers import PRE_TOKENIZERS, recognised

from phibuild.testing._checkpoints.tokenizer_files import tokenizer_json
from phibuild.testing._checkpoints.tokenizers import make_tokenizer


@pytest.mark.parametrize(
    ("kind", "name"), [("phi-2", "gpt-2"), ("phi-4-mini", "gpt-4o"), ("phi-3", None)]
)
def test_a_pre_tokenizer_is_recognised_by_its_rule(kind: Any, name: str | None) -> None:
    assert recognised(tokenizer_json(make_tokenizer(kind, 1024))) == name


def test_the_splitting_of_single_digits_is_recognised() -> None:
    digits = {"type": "Digits", "individual_digits": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    rule = {"type": "Sequence", "pretokenizers": [digits, byte_level]}
    assert recognised({"model": {}, "pre_tokenizer": rule}) == "smollm"


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "NFC"}},
        {"model": {"ignore_merges": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": None},
    ],
)
def test_an_unknown_rule_is_not_guessed(changes: dict[str, Any]) -> None:
    plain = {"model": {}, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}}
    assert recognised(plain) == "gpt-2"
    assert recognised(plain | changes) is None


def test_recognised_names_are_valid_pre_tokenizers() -> None:
    assert {"gpt-2", "smollm", "gpt-4o", "dbrx", "qwen2"} <= set(PRE_TOKENIZERS)
