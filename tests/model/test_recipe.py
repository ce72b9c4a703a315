"""A recipe is checked by name, type and range when the SConstruct is read."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from phibuild.model.errors import RecipeError
from phibuild.model.recipe import parse_recipe, recipe_field, recipe_values


@dataclass(frozen=True, slots=True)
class ARecipe:
    """A recipe with one field of each kind."""

    outdated: ClassVar[dict[str, str]] = {"int4_block_size": "block_size"}
    block_size: int = recipe_field(32, "size", kind="int", choices=(16, 32, 64))
    ratio: float = recipe_field(1.0, "share", kind="float", minimum=0, maximum=1)
    sym: bool | None = recipe_field(None, "symmetric", kind="bool")
    nodes: tuple[str, ...] = recipe_field((), "nodes", kind="strs")
    overrides: Any = recipe_field((), "types", kind="str_map")


def parse(**fields: Any) -> ARecipe:
    return parse_recipe(ARecipe, fields, builder="Thing")


def test_values_are_frozen_into_hashable_ones() -> None:
    recipe = parse(block_size=16, ratio=1, nodes=["a", "b"], overrides={"x": "Q8_0"})
    assert recipe == ARecipe(16, 1.0, None, ("a", "b"), (("x", "Q8_0"),))
    assert hash(recipe) == hash(recipe)
    assert "sym" not in recipe_values(recipe)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"blok_size": 16}, "PHI201", "did you mean 'block_size'"),
        ({"int4_block_size": 16}, "PHI201", "write block_size instead"),
        ({"int4_blok_size": 16}, "PHI201", "did you mean 'block_size'"),
        ({"zzz": 16}, "PHI201", "the fields are block_size, ratio"),
        ({"block_size": 17}, "PHI202", "possible values: 16, 32, 64"),
        ({"block_size": "32"}, "PHI202", "block_size requires int"),
        ({"block_size": True}, "PHI202", "block_size requires int"),
        ({"ratio": 1.5}, "PHI202", "between 0 and 1"),
        ({"sym": "yes"}, "PHI202", "sym requires bool"),
        ({"nodes": "a"}, "PHI202", "a list of strings"),
        ({"overrides": ["a"]}, "PHI202", "a mapping of strings to strings"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(
    fields: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(RecipeError) as refusal:
        parse(**fields)
    assert refusal.value.code == code
    assert words in str(refusal.value)
    assert next(iter(fields)) in refusal.value.message
