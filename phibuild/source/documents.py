"""The small files of a checkpoint, sorted into the slices that they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.model.errors import SourceError
from phibuild.source.architecture import TOKEN_IDS, canonical_architecture

TOKENIZER_JSON = ("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
TOKENIZER_BYTES = ("tokenizer.model", "merges.txt", "vocab.txt")
CARD = "README.md"
_COSMETIC_TOKENIZER = ("chat_template", "name_or_path", "special_tokens_map_file", "auto_map")
_COSMETIC_GENERATION = ("transformers_version", "_from_model_config")


class Documents(NamedTuple):
    """config.json, tokenizer_config.json, generation_config.json and the template, by slice.

    `template` is the text, or the list of named templates of older checkpoints; None if there is
    none. `token_ids` are the ids that config.json holds; `generation` is None without a file.
    `license` is what the card, README.md, says: a name as on the Hugging Face Hub, such as "mit".
    """

    architecture: dict[str, Any]
    token_ids: dict[str, Any]
    generation: dict[str, Any] | None
    tokenizer_config: dict[str, Any] | None
    template: str | list[Any] | None
    license: str


def read_documents(folder: Path) -> Documents:
    """Read and sort; SourceError PHI103 for a config.json that is missing or says too little."""
    path = folder / "config.json"
    config = _read(path)
    if config is None:
        raise SourceError(
            f"{path} is missing",
            hint="name the folder of a Hugging Face checkpoint: config.json beside *.safetensors",
            code="PHI103",
        )
    if not isinstance(config.get("model_type"), str):
        raise SourceError(
            f"{path} has no model_type",
            hint="take config.json from the published checkpoint again",
            code="PHI103",
        )
    tokenizer = _read(folder / "tokenizer_config.json")
    generation = _read(folder / "generation_config.json")
    return Documents(
        architecture=canonical_architecture(config),
        token_ids={name: config[name] for name in TOKEN_IDS if config.get(name) is not None},
        generation=_without(generation, _COSMETIC_GENERATION),
        tokenizer_config=_without(tokenizer, _COSMETIC_TOKENIZER),
        template=_template(folder / "chat_template.jinja", tokenizer),
        license=_license(folder / CARD),
    )


def _license(card: Path) -> str:
    """The field `license` of the lines between `---` that a card begins with; empty if it does not
    say. The Hub's "other" means the field `license_name`."""
    fields: dict[str, str] = {}
    try:
        with card.open(encoding="utf-8", errors="replace") as lines:
            if next(lines, "").rstrip() != "---":
                return ""
            for line in lines:
                if line.rstrip() == "---":
                    break
                name, _, value = line.partition(":")
                fields[name] = value.strip().strip("\"'")
    except OSError:
        return ""
    found = fields.get("license", "")
    found = fields.get("license_name", "") if found == "other" else found
    return "" if found == "unknown" else found


def _template(path: Path, tokenizer: dict[str, Any] | None) -> str | list[Any] | None:
    """chat_template.jinja wins over tokenizer_config.json, as in transformers."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        template: str | list[Any] | None = (tokenizer or {}).get("chat_template")
        if isinstance(template, list):
            _refuse_paths(path.with_name("tokenizer_config.json"), template)
        return template
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text: {error}", code="PHI103") from None


def _refuse_paths(document: Path, templates: list[Any]) -> None:
    """Artifacts have a file for each named template: no name may lead out of its folder."""
    for one in templates:
        name = one.get("name") if isinstance(one, dict) else None
        if isinstance(name, str) and Path(name).name != name:
            raise SourceError(
                f"{document}: the chat template {name!r} has a name that is no file name",
                hint="rename it in tokenizer_config.json",
                code="PHI105",
            )


def _without(document: dict[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    if document is None:
        return None
    return {name: value for name, value in document.items() if name not in names}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path} is not JSON: {error}", hint="fetch the file again", code="PHI103"
        ) from None
    if not isinstance(document, dict):
        raise SourceError(
            f"{path} is not a JSON object", hint="fetch the file again", code="PHI103"
        )
    return document
