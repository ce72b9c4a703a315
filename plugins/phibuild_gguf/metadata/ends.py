"""The tokens at which llama.cpp stops, and the keys by which a GGUF file names further ones.

llama.cpp takes the end of the tokenizer, and every token whose text it knows as an end
(`special_eog_ids` in src/llama-vocab.cpp of the pinned llama.cpp). A GGUF file can add two: the key
of the end of a message, which nothing else reads, and that of the end of a turn, which grammars and
infill also write. But llama.cpp's own programs look at the last token of the prompt, too: with a
token that opens the model's turn among the ends they would stop before the first word. Standard
library only; runs in the worker that finishes the metadata.
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
    said = generation.get("eos_token_id")
    said = config.get("eos_token_id") if said is None else said
    ids = said if isinstance(said, list) else [said]
    return tuple(dict.fromkeys(one for one in ids if type(one) is int))


def opening_of(template: str) -> str:
    """The part of a chat template that opens the model's turn; empty if none is marked."""
    found = _OPENING.search(template)
    return found[1] if found else ""


def end_keys(
    ends: Sequence[int], tokens: Strings, eos: int | None, openings: Sequence[str] = ()
) -> dict[str, int]:
    """The keys that have to be added for llama.cpp to stop at all `ends`; `eos` is the end that the
    file has already. A token that names a role or is in one of the `openings` of chat templates
    opens a turn, and gets no key.

    WorkerError PHI203 if there are more than the format has keys for, or llama.cpp takes one of
    them for something else.
    """
    # An id without a token is never generated.
    named = {one for one in ends if 0 <= one < tokens.count}
    texts = tokens.at(named | ({eos} if eos is not None else set()))
    keys: dict[str, int] = {}
    missing = [one for one in ends if one in named and not _opens(texts[one], openings)]
    if eos is None and missing:
        # Without the key llama.cpp stops at some token that is not an end: 2 or 11.
        keys[EOS] = eos = missing[0]
    lost = _lost(tokens, texts.get(-1 if eos is None else eos, ""))
    for one in missing:
        if texts[one] in lost:
            raise WorkerError(
                f"generation_config.json ends generation at {texts[one]!r} ({one}), which llama.cpp"
                " does not take for an end beside the other special tokens of this model",
                hint="remove the id from eos_token_id in generation_config.json, and stop at the"
                " text in the program that runs the model",
                code="PHI203",
            )
    further = [one for one in missing if texts[one] not in _KNOWN_TEXTS and one != eos]
    if len(further) > len(FURTHER):
        shown = ", ".join(f"{one} ({texts[one]!r})" for one in further)
        raise WorkerError(
            f"generation_config.json ends generation at {len(further)} tokens that llama.cpp does"
            f" not know as ends: {shown}; a GGUF file can name {len(FURTHER)}",
            hint="leave those that the model really writes in eos_token_id of"
            " generation_config.json, and stop at the others' text in the program that runs it",
            code="PHI203",
        )
    return keys | dict(zip(FURTHER, further, strict=False))


def _opens(text: str, openings: Sequence[str]) -> bool:
    is_mark = len(text) > 2 and not text[0].isalnum()
    written = is_mark and any(text in opening for opening in openings)
    return written or _ROLE.fullmatch(text) is not None


def _lost(tokens: Strings, eos: str) -> set[str]:
    """The texts that llama.cpp takes out again: the ends of other models beside them mean that."""
    lost = set()
    if ("<|call|>" in tokens or "<|calls|>" in tokens) and (
        "<|return|>" in tokens or "<|flush|>" in tokens
    ):
        lost.add("<|end|>")
    if "<|tool_response>" in tokens or eos == "<|plamo:eos|>":
        lost.add("</s>")
    return lost
