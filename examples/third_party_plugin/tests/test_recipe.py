"""Fields that do not fit the model are refused when the SConstruct is read."""

from __future__ import annotations

from typing import Any

import pytest
from phibuild_int8 import plan
from phibuild_int8.recipe import Int8Recipe, check

from phibuild.api import ModelFacts, RecipeError, Tensor, parse_recipe

MODEL = ModelFacts(
    {"model_type": "phi3"},
    (Tensor("lm_head.weight", "BF16", (1000, 96), 192_000), Tensor("norm", "BF16", (96,), 192)),
)


def recipe(**fields: Any) -> Int8Recipe:
    return parse_recipe(Int8Recipe, fields, builder="Int8Safetensors")


@pytest.mark.parametrize(
    "fields", [{}, {"group_size": 32}, {"group_size": 64, "keep": ["lm_*"]}, {"keep": ["norm"]}]
)
def test_fields_that_fit_the_model_are_accepted(fields: dict[str, Any]) -> None:
    check(recipe(**fields), MODEL, {})


@pytest.mark.parametrize(
    ("fields", "named"), [({"group_size": 64}, "rows of 96"), ({"keep": ["head"]}, "no tensor")]
)
def test_fields_that_do_not_fit_the_model_are_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(RecipeError, match=named) as caught:
        check(recipe(**fields), MODEL, {})
    assert caught.value.hint


def test_weights_that_are_not_floats_are_refused() -> None:
    model = ModelFacts({"model_type": "phi3"}, (Tensor("w", "F8_E4M3", (8, 8), 64),))
    with pytest.raises(RecipeError, match="F8_E4M3"):
        check(recipe(), model, {})


def test_the_order_of_patterns_does_not_matter() -> None:
    first, second = recipe(keep=["a", "b"]), recipe(keep=["b", "a", "a"])
    assert plan(first, MODEL, {}) == plan(second, MODEL, {})
