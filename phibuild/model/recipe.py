"""Recipes: what to do to the weights, as frozen dataclasses with checked fields.

A backend declares its recipe as a frozen dataclass with `recipe_field`s; `parse_recipe` turns the
keywords that a user wrote into a value of it, or into one error that names the field.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from phibuild.model.errors import RecipeError
from phibuild.model.sizes import parse_size

Precision = Literal["int4", "int8", "fp16", "fp32"]
PRECISIONS: tuple[Precision, ...] = ("int4", "int8", "fp16", "fp32")


RecipeT = TypeVar("RecipeT")


Kind = Literal["bool", "int", "float", "str", "strs", "str_map", "size"]


class FieldRules(NamedTuple):
    """The values that a recipe field accepts. `str_map` is a mapping of text to text, kept as
    pairs, and `size` a number of bytes or a text such as "2 GB", kept as bytes."""

    doc: str
    kind: Kind
    choices: tuple[Any, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None


def recipe_field(
    default: Any,
    doc: str,
    *,
    kind: Kind,
    choices: tuple[Any, ...] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A field of a recipe dataclass. A default of None means "the backend's own default"."""
    rules = FieldRules(doc, kind, choices, minimum, maximum)
    return dataclasses.field(default=default, metadata={"rules": rules})


def rules_of(recipe: type[Any]) -> dict[str, FieldRules]:
    """The rules of each field of a recipe dataclass, in the order of declaration."""
    return {field.name: field.metadata["rules"] for field in dataclasses.fields(recipe)}


def parse_recipe(recipe: type[RecipeT], given: Mapping[str, Any], *, builder: str) -> RecipeT:
    """The recipe that the keywords describe.

    RecipeError PHI201 for an unknown, misspelt or outdated field (the class attribute `outdated`
    maps old names to new ones), PHI202 for a value of the wrong type or out of range.
    """
    rules = rules_of(recipe)
    outdated: Mapping[str, str] = getattr(recipe, "outdated", {})
    values = {}
    for name, value in given.items():
        if name not in rules:
            raise _unknown(name, tuple(rules), outdated, builder)
        if value is not None:  # the default holds
            values[name] = checked(name, value, rules[name], builder)
    return recipe(**values)


def recipe_values(recipe: Any) -> dict[str, Any]:
    """The fields that differ from None, as JSON values by name."""
    return {
        field.name: value
        for field in dataclasses.fields(recipe)
        if (value := getattr(recipe, field.name)) is not None
    }


def _unknown(
    name: str, known: tuple[str, ...], outdated: Mapping[str, str], builder: str
) -> RecipeError:
    if name in outdated:
        return RecipeError(
            f"{builder}: the field {name!r} is outdated", hint=f"write {outdated[name]} instead"
        )
    import difflib  # only for errors

    close = difflib.get_close_matches(name, [*known, *outdated], n=1)
    suggestion = outdated.get(close[0], close[0]) if close else ""
    return RecipeError(
        f"{builder}: unknown field {name!r}",
        hint=f"did you mean {suggestion!r}?" if close else f"the fields are {', '.join(known)}",
    )


def checked(name: str, value: Any, rules: FieldRules, builder: str) -> Any:
    """The value of a field as recipes keep it; RecipeError PHI202 if the rules do not permit it."""
    value = _of_kind(name, value, rules.kind, builder)
    for single in value if isinstance(value, tuple) and rules.kind == "strs" else (value,):
        if rules.choices is not None and single not in rules.choices:
            import difflib

            close = difflib.get_close_matches(str(single), [str(c) for c in rules.choices], n=1)
            raise RecipeError(
                f"{builder}: {name}={_brief(single)} is not supported",
                hint=(f"did you mean {close[0]!r}? " if close else "")
                + f"possible values: {', '.join(str(choice) for choice in rules.choices)}",
                code="PHI202",
            )
    low, high = rules.minimum, rules.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"between {low} and {high}"
        raise RecipeError(
            f"{builder}: {name}={_brief(value)} is out of range",
            hint=f"{name} must be {limits}",
            code="PHI202",
        )
    return value


def _of_kind(name: str, value: Any, kind: str, builder: str) -> Any:
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int" and _is_int(value):
        return value
    if kind == "float" and (_is_int(value) or isinstance(value, float)) and math.isfinite(value):
        return float(value)
    if kind == "str" and _is_text(value):
        return value
    if kind == "strs" and isinstance(value, list | tuple) and _all_text(value):
        return tuple(value)
    if kind == "str_map" and isinstance(value, Mapping) and _all_text([*value, *value.values()]):
        return tuple(value.items())
    if kind == "size" and (_is_int(value) or isinstance(value, str)):
        with contextlib.suppress(ValueError):
            return parse_size(value)
    kinds = {
        "strs": "a list of strings",
        "str_map": "a mapping of strings to strings",
        "size": 'a size such as "2 GB"',
    }
    raise RecipeError(
        f"{builder}: {name}={_brief(value)} is of the wrong type",
        hint=f"{name} requires {kinds.get(kind, kind)}",
        code="PHI202",
    )


def _all_text(values: Iterable[Any]) -> bool:
    return all(map(_is_text, values))


def _is_text(value: Any) -> bool:
    """Whether it is text that a file and a program accept."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_int(value: Any) -> bool:
    """Whether it is a whole number that every program can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _brief(value: object) -> str:
    from phibuild.model.text import brief  # for errors only

    return brief(value)
