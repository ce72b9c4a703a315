"""Packagers: every field of a recipe has an effect or is refused, as backends' do."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pytest

from phibuild.model.action import FileInput
from phibuild.model.recipe import parse_recipe, rules_of
from phibuild.offers import ArtifactFacts, ModelFacts, Packager
from phibuild.registry import load_registry
from phibuild.testing._recipe_fields import ignored_fields

MODEL = ModelFacts(
    {
        "model_type": "phi3",
        "hidden_size": 256,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "num_hidden_layers": 2,
        "max_position_embeddings": 4096,
    },
    (),
)
ABOUT = ArtifactFacts("GGUF", "Q4_K_M", "phi", MODEL)
RAM = {"ram_budget": "2 GB", "context": 1024, "ram_overhead": "1 MB"}
URL = "https://example.org/model.bin"
GOOD: Mapping[str, list[dict[str, Any]]] = {
    "FirmwareImage": [RAM, {"slot_size": "4 MiB"}],
    "EmbeddedModel": [RAM, {"slot_size": "4 MiB"}],
    "MCUbootImage": [{"version": "1.2.3", "slot_size": "4 MiB"}],
    "ZephyrModule": [{"url": URL, "version": "1.2.3", "license_path": "LICENSE"}],
    "YoctoRecipe": [{"url": URL, "license": "MIT"}],
    "EspPartitions": [{"size": "4 MiB"}],
    "GenimageSlots": [{"slot_size": "4 MiB"}],
}


def effect_of(packager: Packager, recipe: Any) -> Hashable:
    extras = {name: FileInput(f"{name}.pem") for name in packager.extras}
    packager.check(recipe, ABOUT, extras)
    plan = packager.plan(recipe, FileInput("model"), ABOUT, extras)
    return plan, packager.size_limit(recipe, ABOUT), packager.payload_limit(recipe, 1 << 20)


PACKAGERS = [each for each in load_registry().packagers.values() if rules_of(each.recipe)]


@pytest.mark.parametrize("packager", PACKAGERS, ids=lambda packager: packager.builder)
def test_a_packager_ignores_no_field(packager: Packager) -> None:
    good = GOOD.get(packager.builder, [{}])
    for fields in good:  # or nothing would be compared
        effect_of(packager, parse_recipe(packager.recipe, fields, builder=packager.builder))
    ignored = {
        name
        for name, _ in ignored_fields(
            packager.recipe,
            good,
            lambda recipe: effect_of(packager, recipe),
            builder=packager.builder,
        )
    }
    assert ignored == set()
