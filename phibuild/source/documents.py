"""The small files of a checkpoint, sorted into the slices that they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.model.errors import SourceError
from phibuild.source.architecture import TOKEN_IDS, canonical_architecture

TOKENIZER_JSON = ("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
TOKENIZER_BYTES = ("tokenizer.model", "merges.txt", "vocab.txt")
_COSMETIC_TOKENIZER = ("chat_template", "name_or_path", "special_tokens_map_file", "auto_map")
_COSMETIC_GENERATION = ("transformers_version", "_from_model_config")


class Documents(NamedTuple):
    """config.json, tokenizer_config.json, generation_config.json and the template, by slice.

    `template` is the text, or the list of named templates of older checkpoints; None if there is
    none. `token_ids` are the ids that config.json holds; `generation` is None without a file.
    """

    architecture: dict[str, Any]
    token_ids: dict[str, Any]
    generation: dict[str, Any] | None
    tokenizer_config: dict[str, Any] | None
    template: str | list[Any] | None


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
    )


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
