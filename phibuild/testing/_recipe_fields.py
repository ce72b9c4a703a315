"""Finds the fields of a recipe that have no effect: forgotten, and not refused either."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

from phibuild.model.errors import RecipeError
from phibuild.model.recipe import FieldRules, Kind, parse_recipe, rules_of


def ignored_fields(
    recipe: type[Any],
    good_fields: Sequence[Mapping[str, Any]],
    effect: Callable[[Any], Hashable],
    *,
    builder: str,
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each field, with the good recipe in which two of its values are accepted but all accepted
    values have the same effect. `effect` checks and plans a recipe."""
    for name, rules in rules_of(recipe).items():
        examples = [fields[name] for fields in good_fields if name in fields]
        for fields in good_fields:
            effects = {}
            for value in (*examples, *_values(rules)):
                with contextlib.suppress(RecipeError):
                    parsed = parse_recipe(recipe, {**fields, name: value}, builder=builder)
                    effects[parsed] = effect(parsed)
            if len(effects) > 1 and len(set(effects.values())) == 1:
                yield name, fields


def _values(rules: FieldRules) -> tuple[Any, ...]:
    """Values of a field's kind, some of which should be accepted."""
    if rules.choices is not None:
        return (
            (list(rules.choices), list(rules.choices[:1]))
            if rules.kind == "strs"
            else rules.choices
        )
    limits = tuple(limit for limit in (rules.minimum, rules.maximum) if limit is not None)
    values: dict[Kind, tuple[Any, ...]] = {
        "bool": (False, True),
        "int": (*map(int, limits), 1, 2, 16, 32, 64, 128, 256),
        "float": (*limits, 0.25, 0.5, 0.75),
        "str": ("a", "b"),
        "strs": (["a"], ["b"]),
        "str_map": ({"a": "b"}, {"b": "a"}),
        "size": (*map(int, limits), 1 << 20, 1 << 30),
    }
    return values[rules.kind]
