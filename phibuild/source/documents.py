"""The small files of a checkpoint, sorted into the slices that they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.foreign import open_regular
from phibuild.model.errors import SourceError
from phibuild.source.architecture import TOKEN_IDS, canonical_architecture
from phibuild.source.fields import (
    CONFIG_FIELDS,
    GENERATION_FIELDS,
    TOKENIZER_FIELDS,
    VOCABULARY_FIELDS,
    check_fields,
)
from phibuild.source.files import (
    CONFIG,
    GENERATION,
    TEMPLATE,
    TOKENIZER_CONFIG,
    CheckpointFiles,
)
from phibuild.source.reading import kind_of, read_object
from phibuild.source.templates import Template, named_templates, read_templates

CARD = "README.md"
_LONGEST_HEAD = 64 << 10
_COSMETIC_TOKENIZER = ("chat_template", "name_or_path", "special_tokens_map_file", "auto_map")
_COSMETIC_GENERATION = ("transformers_version", "_from_model_config")


class Documents(NamedTuple):
    """config.json, tokenizer_config.json, generation_config.json and the template, by slice.

    `template` is the text, or the list of named templates; None if there is none. `token_ids` are
    the ids that config.json holds; `generation` is None without a file. `license` is that of the
    card, README.md: a name as on the Hugging Face Hub, such as "mit".
    """

    architecture: dict[str, Any]
    token_ids: dict[str, Any]
    generation: dict[str, Any] | None
    tokenizer_config: dict[str, Any] | None
    template: Template
    license: str


def read_documents(files: CheckpointFiles) -> Documents:
    """Read and sort; SourceError PHI103 for a document that lacks a field, or has one of the wrong
    type."""
    path = files.folder / CONFIG
    config = read_object(path)
    if not config.get("model_type"):
        raise SourceError(
            f"{path} has no model_type",
            hint="use config.json of the published checkpoint",
            code="PHI103",
        )
    check_fields(path, config, CONFIG_FIELDS)
    config.pop("transformers_weights", None)  # it names a file; its tensors matter, not its name
    tokenizer = generation = None
    if files.has(TOKENIZER_CONFIG):
        tokenizer = read_object(files.folder / TOKENIZER_CONFIG)
        check_fields(files.folder / TOKENIZER_CONFIG, tokenizer, TOKENIZER_FIELDS)
    if files.has(GENERATION):
        generation = read_object(files.folder / GENERATION)
        check_fields(files.folder / GENERATION, generation, GENERATION_FIELDS)
    return Documents(
        architecture=canonical_architecture(config),
        token_ids={name: config[name] for name in TOKEN_IDS if config.get(name) is not None},
        generation=_without(generation, _COSMETIC_GENERATION),
        tokenizer_config=_with_class(files, _without(tokenizer, _COSMETIC_TOKENIZER)),
        template=_template(files, tokenizer or {}),
        license=_license(files.folder / CARD),
    )


def checked_json(path: Path) -> bytes:
    """A JSON file of the tokenizer without its white space, its order kept (a vocabulary's order
    may matter). SourceError PHI103."""
    document = read_object(path)
    check_fields(path, document, VOCABULARY_FIELDS.get(path.name, {}))
    if path.name == "added_tokens.json":
        wrong = next((name for name, index in document.items() if type(index) is not int), None)
        if wrong is not None:
            raise SourceError(
                f"{path}: {wrong!r} is {kind_of(document[wrong])}, and should be the id of a token",
                hint="use the file of the published checkpoint",
                code="PHI103",
            )
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _template(files: CheckpointFiles, tokenizer: dict[str, Any]) -> Template:
    """Files override tokenizer_config.json, as in transformers."""
    default = files.folder / TEMPLATE
    if files.has(TEMPLATE) or files.templates:
        return read_templates(default if files.has(TEMPLATE) else None, files.templates)
    return named_templates(files.folder / TOKENIZER_CONFIG, tokenizer.get("chat_template"))


def _with_class(files: CheckpointFiles, config: dict[str, Any] | None) -> dict[str, Any] | None:
    """The settings, with the class that reads tokenizer.json unchanged if they name none.
    transformers would choose one by model_type, which for `phi` builds another tokenizer."""
    if (config or {}).get("tokenizer_class") or not files.has("tokenizer.json"):
        return config
    return {**(config or {}), "tokenizer_class": "TokenizersBackend"}


def _license(card: Path) -> str:
    """The field `license` of the lines between `---` at the start of a card; empty without one. The
    Hub's "other" means the field `license_name`."""
    fields: dict[str, str] = {}
    try:
        with open_regular(card) as file:
            lines = file.read(_LONGEST_HEAD).decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    if lines[0].rstrip() != "---":
        return ""
    for line in lines[1:]:
        if line.rstrip() == "---":
            break
        name, _, value = line.partition(":")
        fields[name] = value.strip().strip("\"'")
    name = fields.get("license", "")
    name = fields.get("license_name", "") if name == "other" else name
    return "" if name == "unknown" else name


def _without(document: dict[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    if document is None:
        return None
    return {name: value for name, value in document.items() if name not in names}
