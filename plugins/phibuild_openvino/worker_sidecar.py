"""Writes the files that a chat template, special tokens and sampling defaults reach.

Each file has the contents that Optimum and openvino_tokenizers write for the whole checkpoint. No
weights are read and no framework is imported.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import phiworker

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
Templates = dict[str, str]
"""Chat templates by name; one without a name is the default."""


def main(job: phiworker.Job) -> None:
    model = job.inputs["model"]
    job.output.mkdir()
    config = read(job.inputs["config"])
    own = read(model / "config.json")
    ids = {name: own[name] for name in TOKEN_IDS if name in own}
    write(job.output / "config.json", config | ids)
    write(job.output / "generation_config.json", generation(job, ids, config))
    templates = templates_of(model)
    write_templates(templates, job.output)
    for kind in ("tokenizer", "detokenizer"):
        text = job.inputs[kind].read_bytes().decode("utf-8")
        document = job.output / f"openvino_{kind}.xml"
        document.write_bytes(with_templates(text, templates).encode("utf-8"))


def generation(job: phiworker.Job, ids: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint's own settings; without any, those that transformers derives from its
    config.json."""
    own = job.inputs["model"] / "generation_config.json"
    if not own.is_file():
        return read(job.inputs["generation"]) | ids
    settings = {name: value for name, value in read(own).items() if value is not None}
    return settings | {"transformers_version": config["transformers_version"]}


def templates_of(model: Path) -> Templates:
    """The template of chat_template.jinja, or the named ones of tokenizer_config.json."""
    template = model / "chat_template.jinja"
    if template.is_file():
        return {"": template.read_bytes().decode("utf-8")}
    config = model / "tokenizer_config.json"
    named = read(config).get("chat_template", []) if config.is_file() else []
    return {template["name"]: template["template"] for template in named}


def write_templates(templates: Templates, folder: Path) -> None:
    """The default one and, in a folder, the others, where transformers looks for them."""
    for name, template in templates.items():
        path = folder / "chat_template.jinja"
        if name not in ("", "default"):
            path = folder / "additional_chat_templates" / f"{name}.jinja"
            path.parent.mkdir(exist_ok=True)
        path.write_bytes(template.encode("utf-8"))


def with_templates(document: str, templates: Templates) -> str:
    """The XML of a tokenizer with a note of its templates, inserted in the notes' order by name."""
    if not templates:
        return document
    head, mark, tail = document.rpartition("\t\t<clean_up_tokenization_spaces")
    if not mark:
        raise phiworker.WorkerError("the tokenizer's IR has no clean_up_tokenization_spaces note")
    if "" in templates:
        note = f'\t\t<chat_template value="{escaped(templates[""])}" />\n'
    else:
        lines = (
            f'\t\t\t<{element(name)} value="{escaped(template)}" />\n'
            for name, template in sorted(templates.items())
        )
        note = f"\t\t<chat_template>\n{''.join(lines)}\t\t</chat_template>\n"
    return f"{head}{note}{mark}{tail}"


def element(name: str) -> str:
    """The element of a note, in OpenVINO's spelling for names that XML does not allow."""
    is_plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) and name[:3].lower() != "xml"
    return name if is_plain else f'info name="{escaped(name)}"'


def escaped(text: str) -> str:
    """An attribute's value, escaped as by pugixml, OpenVINO's XML library."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return "".join(
        f"&#{ord(character):02};" if ord(character) < 32 else character for character in text
    )


def read(document: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(document.read_text("utf-8"))
    return value


def write(document: Path, value: dict[str, Any]) -> None:
    document.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
