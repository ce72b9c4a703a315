"""The chat templates of a checkpoint, one or several with names, as transformers 5 reads them.

`chat_template.jinja` has the name `default`, and each file NAME.jinja in
`additional_chat_templates` another (`_from_pretrained` of tokenization_utils_base.py). Older
checkpoints have a text or a list of named ones in tokenizer_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phibuild.model.errors import SourceError
from phibuild.source.reading import kind_of, read_text

Template = str | list[dict[str, str]] | None
"""A text; or templates by name, each `{"name": ..., "template": ...}`; None without any."""

DEFAULT = "default"


def read_templates(default: Path | None, others: tuple[Path, ...]) -> Template:
    """The templates of files. A default.jinja overrides chat_template.jinja."""
    texts = {DEFAULT: read_text(default)} if default else {}
    for path in others:
        name = path.name.removesuffix(".jinja")
        _check_name(path, name)
        texts[name] = read_text(path)
    return texts[DEFAULT] if set(texts) == {DEFAULT} else _as_list(texts)


def named_templates(document: Path, value: Any) -> Template:
    """The field chat_template of tokenizer_config.json; SourceError PHI103 if it does not hold
    templates, PHI105 for a name that is not a file's."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        value = _as_list(value)
    if not isinstance(value, list) or not all(map(_is_named, value)):
        raise SourceError(
            f"{document}: chat_template is {kind_of(value)}, and should be a template or a list of"
            ' templates, each {"name": ..., "template": ...}',
            hint="correct the field, or use the file of the published checkpoint",
            code="PHI103",
        )
    names = [template["name"] for template in value]
    for name in names:
        _check_name(document, name)
        if names.count(name) > 1:
            raise SourceError(
                f"{document} has two chat templates with the name {name!r}",
                hint="remove one of them",
                code="PHI103",
            )
    return [{"name": each["name"], "template": each["template"]} for each in value]


def _as_list(texts: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "template": text} for name, text in texts.items()]


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(field), str) for field in ("name", "template")
    )


def _check_name(document: Path, name: str) -> None:
    """Artifacts have a file for each named template: no name may lead out of its folder."""
    if not name or Path(name).name != name or not name.isprintable():
        raise SourceError(
            f"{document}: the chat template {name!r} has a name that cannot be a file name",
            hint="rename the template: letters, digits, - and _ work everywhere",
            code="PHI105",
        )
