"""Writes the files that the runtime reads beside the graph: genai_config.json, the tokenizer, the
template.

Ids and sampling follow the model builder (builders/base.py, `make_genai_config` and
`resolve_special_token_ids` of onnxruntime-genai 0.18); no framework is imported.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import phitokenizer
import phiworker

_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_SAMPLING = {"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0}
"""The sampling fields that the builder copies from generation_config.json, with the values that it
treats as unset."""
_MARKS = {
    "bot_token_id": ("<tool_call>", "<|tool_call|>"),
    "eot_token_id": ("</tool_call>", "<|/tool_call|>"),
    "bor_token_id": ("<think>",),
    "eor_token_id": ("</think>",),
}
"""The tokens around tool calls and reasoning that the runtime reads: the first that exists."""


def main(job: phiworker.Job) -> None:
    view = job.inputs["model"]
    tokenizer = phitokenizer.Tokenizer(view)
    config = json.loads(job.inputs["base"].read_text("utf-8"))
    model, search = config["model"], config["search"]
    generation = read(view / "generation_config.json")
    for name, unset in _SAMPLING.items():
        if generation.get(name, unset) not in (None, unset):
            search[name] = generation[name]
    model |= ids(model, read(view / "config.json"), generation, tokenizer)
    for name, contents in _MARKS.items():
        known = [token for token in map(tokenizer.id_of, contents) if token is not None]
        if known:
            model[name] = known[0]
    job.output.mkdir()
    (job.output / "genai_config.json").write_text(json.dumps(config, indent=4), "utf-8")
    tokenizer.settings["model_max_length"] = model["context_length"]
    tokenizer.save(job.output)


def ids(
    base: dict[str, Any],
    config: dict[str, Any],
    generation: dict[str, Any],
    tokenizer: phitokenizer.Tokenizer,
) -> dict[str, Any]:
    """The ids of generation_config.json, else of config.json, else of the architecture (`base`),
    else of the tokenizer, whose own end of a turn always ends generation."""
    own = {name: tokenizer.id_of(tokenizer.roles.get(name[:-3])) for name in _IDS}
    result: dict[str, Any] = {}
    for name in _IDS:
        candidates = (generation.get(name), config.get(name), base[name], own[name])
        result[name] = next((value for value in candidates if value is not None), None)
    if result["eos_token_id"] is None:
        raise phiworker.WorkerError(
            "neither config.json nor the tokenizer says which token ends the text",
            hint="write eos_token_id into generation_config.json",
            code="PHI103",
        )
    if result["bos_token_id"] is None:
        result["bos_token_id"] = 1
    stops = result["eos_token_id"]
    stops = stops if isinstance(stops, list) else [stops]
    if result["pad_token_id"] is None:
        result["pad_token_id"] = stops[0]
    if own["eos_token_id"] not in (None, *stops):
        result["eos_token_id"] = [own["eos_token_id"], *stops]
    return result


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


if __name__ == "__main__":
    phiworker.run(main)
