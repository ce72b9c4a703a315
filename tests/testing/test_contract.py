"""The contract for backends finds what a plugin's author forgot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from phibuild.model.action import Action, FileInput, frozen_recipe
from phibuild.model.recipe import recipe_field
from phibuild.offers import Backend, Description, ModelFacts
from phibuild.testing import BackendContract


@dataclass(frozen=True, slots=True)
class ToyRecipe:
    bits: int = recipe_field(4, "bits of a weight", kind="int", choices=(4, 8))
    name: str | None = recipe_field(None, "name of the model", kind="str")


class ToyContract(BackendContract):
    backend_name = "toy"
    good_fields = [{}]  # noqa: RUF012
    bad_fields = []  # noqa: RUF012


def toy_backend(*planned: str) -> Backend:
    """A backend whose plan reads these fields of the recipe."""

    def plan(recipe: Any, model: ModelFacts, extras: Mapping[str, FileInput]) -> Action:
        fields = frozen_recipe({name: getattr(recipe, name) for name in planned})
        return Action("toy.write", Path("worker.py"), "host", recipe=fields)

    return Backend(
        name="toy",
        builder="Toy",
        format="toy",
        kind="file",
        recipe=ToyRecipe,
        check=lambda recipe, model, extras: None,
        plan=plan,
        label=lambda recipe: f"{recipe.bits} bits",
        describe=lambda path: Description("toy", (), ()),
    )


def test_a_plan_that_reads_every_field_passes() -> None:
    ToyContract().test_every_field_changes_the_plan_or_is_refused(toy_backend("bits", "name"))


@pytest.mark.parametrize("forgotten", ["bits", "name"])
def test_a_field_that_the_plan_forgets_is_named(forgotten: str) -> None:
    backend = toy_backend(*{"bits", "name"} - {forgotten})
    with pytest.raises(pytest.fail.Exception, match=f"{forgotten} is ignored"):
        ToyContract().test_every_field_changes_the_plan_or_is_refused(backend)
