"""The tokens at which llama.cpp stops, and the keys for further ones in a GGUF file.

llama.cpp stops at the tokenizer's end and at every token whose text it knows as an end
(`special_eog_ids` in src/llama-vocab.cpp of the pinned llama.cpp). A GGUF file can add two: the end
of a message, which nothing else reads, and the end of a turn, which grammars and infill use too.
llama.cpp's programs also check the last token of the prompt: if the token that opens the model's
turn were an end, they would stop before the first word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from phiworker import WorkerError

from phibuild_gguf.format.values import Strings

EOS = "tokenizer.ggml.eos_token_id"
FURTHER = ("tokenizer.ggml.eom_token_id", "tokenizer.ggml.eot_token_id")

_KNOWN_TEXTS = frozenset(
    {
        "<|eot_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|flush|>",
        "<|calls|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "</s>",
        "<|eom_id|>",
        "<EOT>",
        "_<EOT>",
        "[EOT]",
        "[EOS]",
        "<|end_of_text|>",
        "<end_of_utterance>",
        "<eos>",
        "<turn|>",
        "<|tool_response>",
        "<｜end▁of▁sentence｜>",
        "[e~[",
    }
)
_ROLE = re.compile(r"\W*(assistant|user|system)\W*")
_OPENING = re.compile(
    r"add_generation_prompt(?!.*add_generation_prompt)(.*?)\{%-?\s*(?:else|endif)", re.S
)


def named_ends(generation: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int, ...]:
    """The ids that end generation: those of generation_config.json, else of config.json."""
    value = generation.get("eos_token_id")
    value = config.get("eos_token_id") if value is None else value
    ids = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(token for token in ids if type(token) is int))


def opening_of(template: str) -> str:
    """The part of a chat template that opens the model's turn; empty if the template has none."""
    match = _OPENING.search(template)
    return match[1] if match else ""


def end_keys(
    ends: Sequence[int], tokens: Strings, eos: int | None, openings: Sequence[str] = ()
) -> dict[str, int]:
    """The keys to add so that llama.cpp stops at all `ends`; `eos` is the end that the file already
    has. A token that names a role or is in one of the `openings` of chat templates opens a turn,
    and gets no key.

    WorkerError PHI203 if the format has too few keys, or llama.cpp removes one of the ends.
    """
    # An id without a token is never generated.
    named = {token for token in ends if 0 <= token < tokens.count}
    texts = tokens.at(named | ({eos} if eos is not None else set()))
    keys: dict[str, int] = {}
    missing = [token for token in ends if token in named and not _opens(texts[token], openings)]
    if eos is None and missing:
        # Without the key llama.cpp stops at token 2 or 11, whatever that is.
        keys[EOS] = eos = missing[0]
    removed = _removed(tokens, texts.get(-1 if eos is None else eos, ""))
    for token in missing:
        if texts[token] in removed:
            raise WorkerError(
                f"generation_config.json ends generation at {texts[token]!r} ({token}), which"
                " llama.cpp does not treat as an end in a model with these special tokens",
                hint="remove the id from eos_token_id in generation_config.json, and stop at the"
                " text in the program that runs the model",
                code="PHI203",
            )
    further = [token for token in missing if texts[token] not in _KNOWN_TEXTS and token != eos]
    if len(further) > len(FURTHER):
        shown = ", ".join(f"{token} ({texts[token]!r})" for token in further)
        raise WorkerError(
            f"generation_config.json ends generation at {len(further)} tokens that llama.cpp does"
            f" not know as ends: {shown}; a GGUF file can name {len(FURTHER)}",
            hint="keep those that the model really writes in eos_token_id of"
            " generation_config.json, and stop at the text of the others where the model runs",
            code="PHI203",
        )
    return keys | dict(zip(FURTHER, further, strict=False))


def _opens(text: str, openings: Sequence[str]) -> bool:
    is_mark = len(text) > 2 and not text[0].isalnum()
    written = is_mark and any(text in opening for opening in openings)
    return written or _ROLE.fullmatch(text) is not None


def _removed(tokens: Strings, eos: str) -> set[str]:
    """Known texts that llama.cpp does not treat as ends in vocabularies with these other tokens."""
    removed = set()
    if ("<|call|>" in tokens or "<|calls|>" in tokens) and (
        "<|return|>" in tokens or "<|flush|>" in tokens
    ):
        removed.add("<|end|>")
    if "<|tool_response>" in tokens or eos == "<|plamo:eos|>":
        removed.add("</s>")
    return removed
