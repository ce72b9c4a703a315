"""Adds to the metadata what architecture and tokenizer do not decide; runs under phibuild's Python.

Name, size, sampling settings, token ids and chat template go where llama.cpp's converter puts them
(conversion/base.py, gguf-py's metadata.py and vocab.py of the pinned llama.cpp).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import phiworker

from phibuild_gguf.format.header import GgufHeader, read_header
from phibuild_gguf.format.values import (
    Strings,
    Values,
    float32,
    head,
    int32,
    read_values,
    string,
    strings,
    uint32,
)
from phibuild_gguf.metadata.ends import EOS, end_keys, named_ends, opening_of
from phibuild_gguf.metadata.vocabulary import checked_name, read_json

# Key, type, and the fields of generation_config.json that may set it.
_SAMPLING: tuple[tuple[str, Callable[[Any], bytes], tuple[str, ...]], ...] = (
    ("sequence", string, ("sequence",)),
    ("top_k", int32, ("top_k",)),
    ("top_p", float32, ("top_p",)),
    ("min_p", float32, ("min_p",)),
    ("xtc_probability", float32, ("xtc_probability",)),
    ("xtc_threshold", float32, ("xtc_threshold",)),
    ("temp", float32, ("temperature",)),
    ("penalty_last_n", int32, ("penalty_last_n",)),
    ("penalty_repeat", float32, ("penalty_repeat", "repetition_penalty")),
    ("mirostat", int32, ("mirostat",)),
    ("mirostat_tau", float32, ("mirostat_tau",)),
    ("mirostat_eta", float32, ("mirostat_eta",)),
)
_IDS = {
    "bos": "bos",
    "eos": "eos",
    "unk": "unknown",
    "sep": "seperator",  # spelled so in the specification
    "pad": "padding",
    "cls": "cls",
    "mask": "mask",
}
_TEMPLATE = "tokenizer.chat_template"
_TEMPLATES = "tokenizer.chat_templates"
_NORMALIZER = "tokenizer.ggml.normalizer"
_BEFORE_IDS = ("tokenizer.ggml.token_type", "tokenizer.ggml.merges")


def main(job: phiworker.Job) -> None:
    model, vocabulary = job.inputs["model"], job.inputs["vocabulary"]
    header = read_header(vocabulary)
    values = read_values(vocabulary, header)
    name = checked_name(str(header.value("general.name")), job.recipe["model_name"])
    size = job.recipe["size_label"]
    named = {"general.name": string(name)} | ({"general.size_label": string(size)} if size else {})
    generation = read_json(model / "generation_config.json")
    config = read_json(model / "config.json")
    values = replaced(values, "general.name", sampling_values(generation) | named)
    ids = id_values(config, header)
    eos = ids.get(EOS, header.value(EOS))
    tokens = Strings(values["tokenizer.ggml.tokens"])
    template = chat_template(model)
    openings = [opening_of(text) for text in template_texts(template)]
    ends = end_keys(named_ends(generation, config), tokens, eos, openings)
    added = {key: uint32(number) for key, number in (ids | ends).items()}
    values = after_ids(values, added)
    templates = template_values(template)
    at = next((n for n, key in enumerate(values) if key.startswith(_NORMALIZER)), len(values))
    job.output.write_bytes(head(inserted(values, at, templates)))


def sampling_values(settings: Mapping[str, Any]) -> Values:
    """The settings of generation_config.json that have keys."""
    values: Values = {}
    for key, encode, names in _SAMPLING:
        name = next((name for name in names if name in settings), names[0])
        value = settings.get(name)
        if value is None or value == "":
            continue
        try:
            values[f"general.sampling.{key}"] = encode(value)
        except (struct.error, AttributeError, OverflowError) as error:
            raise phiworker.WorkerError(
                f"{name} in generation_config.json is {value!r}: {error}",
                hint="correct the file, or remove the field",
                code="PHI103",
            ) from None
    return values


def id_values(config: Mapping[str, Any], header: GgufHeader) -> dict[str, int]:
    """The ids in config.json for which the tokenizer has none."""
    rows = header.value("tokenizer.ggml.tokens").length
    # The converter checks the limit for SentencePiece vocabularies only.
    limit = rows if header.value("tokenizer.ggml.model") == "llama" else 1 << 32
    ids: dict[str, int] = {}
    for role, word in _IDS.items():
        key, number = f"tokenizer.ggml.{word}_token_id", config.get(f"{role}_token_id")
        if header.value(key) is None and type(number) is int and 0 <= number < limit:
            ids[key] = number
    return ids


def template_values(template: str | list[Mapping[str, str]]) -> Values:
    """A template, or templates by name, of which `default` is used unless another is named."""
    if isinstance(template, str):
        return {_TEMPLATE: string(template)} if template else {}
    texts: dict[str, str] = {}
    for each in template:
        if not each.get("name") or each.get("template") is None:
            continue
        name = re.sub(r"[^0-9A-Za-z]", "_", each["name"])
        if name in texts:
            raise phiworker.WorkerError(
                f"two chat templates have the name {name!r} in a GGUF file, one of them"
                f" {each['name']!r}: names consist of letters, digits and _",
                hint="rename one of them",
                code="PHI103",
            )
        texts[name] = each["template"]
    default = texts.pop("default", "")
    values = {f"{_TEMPLATE}.{name}": string(text) for name, text in texts.items() if text}
    if texts:
        values[_TEMPLATES] = strings(list(texts))
    return values | template_values(default)


def chat_template(model: Path) -> Any:
    """The template, or the named templates of older checkpoints; empty without one."""
    path = model / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    return read_json(model / "tokenizer_config.json").get("chat_template", "")


def template_texts(template: str | list[Mapping[str, str]]) -> list[str]:
    """The texts of a template, or of all named ones."""
    if isinstance(template, str):
        return [template]
    return [each["template"] for each in template if each.get("template") is not None]


def after_ids(values: Values, added: Values) -> Values:
    """The values with others inserted after the ids of the tokenizer, which follow its lists."""
    last = max(
        position
        for position, key in enumerate(values)
        if key in _BEFORE_IDS or key.endswith("_token_id")
    )
    return inserted(values, last + 1, added)


def replaced(values: Values, key: str, by: Values) -> Values:
    """The values with others instead of one key."""
    position = list(values).index(key)
    return inserted({name: value for name, value in values.items() if name != key}, position, by)


def inserted(values: Values, position: int, added: Values) -> Values:
    """The values with others inserted at a position."""
    pairs = list(values.items())
    return dict([*pairs[:position], *added.items(), *pairs[position:]])


if __name__ == "__main__":
    phiworker.run(main)
