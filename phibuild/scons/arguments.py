"""The arguments of builders: checked before anything is declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phibuild.model.action import FileInput, frozen_recipe
from phibuild.model.errors import RecipeError
from phibuild.model.recipe import FieldRules, checked
from phibuild.offers import Backend, Packager
from phibuild.scons.paths import check_size
from phibuild.scons.translate import Source, find

_LARGEST_EXTRA = 2 << 30
"""Bytes; an imatrix of the largest Phi model has a twentieth of them."""
_TEXT = FieldRules("", "str")
_COUNT = FieldRules("", "int", minimum=1)
_FLAG = FieldRules("", "bool")


def text(name: str, value: Any, builder: str) -> str:
    """RecipeError PHI202 unless it is a text."""
    return str(checked(name, value, _TEXT, builder))


def count(name: str, value: Any, builder: str) -> int:
    """RecipeError PHI202 unless it is a positive number."""
    return int(checked(name, value, _COUNT, builder))


def flag(name: str, value: Any, builder: str) -> bool:
    """RecipeError PHI202 unless it is true or false."""
    return bool(checked(name, value, _FLAG, builder))


def is_current(toolchain: Any) -> bool:
    """Whether the packages of the running interpreter are requested; RecipeError PHI202 for
    anything but "current" and None."""
    if toolchain is None:
        return False
    if isinstance(toolchain, str) and toolchain == "current":
        return True
    from phibuild.model.text import brief  # for errors only

    raise RecipeError(
        f"toolchain={brief(toolchain)} is not supported",
        hint='leave it out for the locked toolchain, or write toolchain="current"',
        code="PHI202",
    )


def take_extras(env: Any, offer: Backend | Packager, fields: dict[str, Any]) -> dict[str, Source]:
    """The files among the keywords of a builder, which are removed from `fields`."""
    passed = {name: fields.pop(name, None) for name in offer.extras}
    extras = {name: find(env, value) for name, value in passed.items() if value is not None}
    for name, extra in extras.items():
        check_size(extra.path, name, most=_LARGEST_EXTRA)
    return extras


def file_inputs(sources: Mapping[str, Source]) -> dict[str, FileInput]:
    """Sources as inputs of an action."""
    return {name: FileInput(str(source.path)) for name, source in sources.items()}


def named_inputs(env: Any, inputs: Any) -> dict[str, Source]:
    """The inputs of a worker of the user's own; RecipeError PHI202 unless each has a name that can
    be a file's."""
    if inputs is None:
        return {}
    if isinstance(inputs, Mapping) and all(map(_is_file_name, inputs)):
        return {name: find(env, value) for name, value in sorted(inputs.items())}
    from phibuild.model.text import brief  # for errors only

    raise RecipeError(
        f"Artifact: inputs={brief(inputs)} is not a mapping of names to paths",
        hint='write inputs={"text": "in.txt"}, with a name that a file can have',
        code="PHI202",
    )


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and name[:1] not in "." and "/" not in name


def json_fields(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The recipe of a worker of the user's own; RecipeError PHI202 for a value that is not JSON."""
    for name, value in fields.items():
        try:
            frozen_recipe({name: value})
        except (TypeError, ValueError, RecursionError):
            from phibuild.model.text import brief  # for errors only

            raise RecipeError(
                f"Artifact: {name}={brief(value)} is not a JSON value",
                hint="pass numbers, texts, lists, and mappings of texts to them",
                code="PHI202",
            ) from None
    return frozen_recipe(fields)
