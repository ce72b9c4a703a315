"""The keys by which llama.cpp stops at every token that a checkpoint names as an end."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from phibuild_gguf.format.values import Strings, strings

import phibuild.worker

TEXTS = ["<s>", "a", "b", "c", "<|end|>", "<|endoftext|>", "<|stop|>", "<|assistant|>", "<|bot|>"]
EOS, EOM, EOT = (f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eom", "eot"))


def tokens(texts: list[str]) -> Strings:
    """The list of tokens in a file."""
    return Strings(strings(texts))


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, as the worker imports it."""
    monkeypatch.syspath_prepend(str(Path(phibuild.worker.__file__).parent))
    return importlib.import_module("phibuild_gguf.metadata.ends")


@pytest.mark.parametrize(
    ("generation", "config", "ends"),
    [
        ({"eos_token_id": [5, 4, 5]}, {"eos_token_id": 1}, (5, 4)),
        ({"eos_token_id": 0}, {}, (0,)),
        ({}, {"eos_token_id": [1, 2]}, (1, 2)),
        ({}, {}, ()),
    ],
)
def test_the_ends_are_those_of_the_settings_else_of_the_config(
    module: Any, generation: dict[str, Any], config: dict[str, Any], ends: tuple[int, ...]
) -> None:
    assert module.named_ends(generation, config) == ends


@pytest.mark.parametrize(
    ("ends", "eos", "keys"),
    [
        ((5, 4), 5, {}),
        ((5, 6, 4), 5, {EOM: 6}),
        ((1, 2, 3), 1, {EOM: 2, EOT: 3}),
        ((1, 4), None, {EOS: 1}),
        ((4, 1), None, {EOS: 4, EOM: 1}),
        ((5, 99), 5, {}),
        ((), None, {}),
        ((7, 5), 5, {}),
        ((7, 1), None, {EOS: 1}),
    ],
)
def test_only_ends_that_llama_cpp_does_not_know_by_their_text_get_a_key(
    module: Any, ends: tuple[int, ...], eos: int | None, keys: dict[str, int]
) -> None:
    assert module.end_keys(ends, tokens(TEXTS), eos) == keys


def test_more_ends_than_there_are_keys_for_are_refused(module: Any) -> None:
    with pytest.raises(module.WorkerError, match=r"at 3 tokens .*: 1 \('a'\), 2 ") as caught:
        module.end_keys((1, 2, 3), tokens(TEXTS), 5)
    assert caught.value.code == "PHI203"


@pytest.mark.parametrize(
    ("texts", "lost"),
    [
        (["<|end|>", "<|return|>", "<|call|>"], 0),
        (["<|end|>", "<|flush|>", "<|calls|>"], 0),
        (["</s>", "<|tool_response>"], 0),
        (["<|end|>", "<|call|>"], None),
        (["</s>", "<|end|>"], None),
    ],
)
def test_an_end_that_llama_cpp_drops_is_refused(
    module: Any, texts: list[str], lost: int | None
) -> None:
    if lost is None:
        assert module.end_keys(range(len(texts)), tokens(texts), 0) == {}
        return
    with pytest.raises(module.WorkerError, match="does not treat as an end"):
        module.end_keys((lost,), tokens(texts), 1)


TEMPLATES = {
    "marked": "{% for m in messages %}<|bot|>{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|bot|>\n' }}{% else %}{{ '<|stop|>' }}{% endif %}",
    "trimmed": "{%- if add_generation_prompt -%}<|bot|>{%- endif -%}<|stop|>",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_token_that_opens_the_models_turn_is_not_an_end_of_a_file(
    module: Any, template: str
) -> None:
    """llama-completion stops at a prompt whose last token is an end."""
    openings = [module.opening_of(TEMPLATES[template])]
    assert module.end_keys((8, 6, 5), tokens(TEXTS), 5, openings) == {EOM: 6}


def test_a_template_that_marks_no_opening_has_none(module: Any) -> None:
    assert module.opening_of("{% for m in messages %}<|bot|>{% endfor %}") == ""
