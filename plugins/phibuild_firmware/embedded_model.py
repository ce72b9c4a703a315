"""The packager behind `env.EmbeddedModel`: a model as a part of the firmware itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from phibuild.api import (
    Action,
    ArtifactFacts,
    Assembly,
    Extras,
    FileInput,
    Packager,
    RecipeError,
    frozen_recipe,
    recipe_field,
)
from phibuild_firmware import firmware_image
from phibuild_firmware.device_sources import SOURCES, plan_sources
from phibuild_firmware.firmware_image import ImageRecipe
from phibuild_firmware.programs import compiler_programs

_EMBEDDING = ("phi_model_data.S", "phi_model_data.ld")
_OBJECTS = ("phi_model.o", "phi_model_data.o")


@dataclass(frozen=True, slots=True)
class EmbeddedRecipe(ImageRecipe):
    """How an artifact becomes a part of a firmware."""

    compiler: str | None = recipe_field(
        None,
        "a cross compiler by its name on the PATH, such as arm-none-eabi-gcc: adds objects",
        kind="str",
    )
    compiler_flags: tuple[str, ...] = recipe_field(
        (), "flags of the firmware, such as -mcpu=cortex-m3, with compiler", kind="strs"
    )

    def __post_init__(self) -> None:
        """RecipeError PHI202 for a name that no compiler can have."""
        ImageRecipe.__post_init__(self)
        if self.compiler is not None and ("/" in self.compiler or not self.compiler):
            raise RecipeError(
                f"compiler={self.compiler!r} is not the name of a program",
                hint="write the name alone, and put its folder into PATH",
                code="PHI202",
            )
        if self.compiler_flags and self.compiler is None:
            raise RecipeError(
                "compiler_flags requires compiler",
                hint='add compiler="arm-none-eabi-gcc", or another compiler',
                code="PHI202",
            )


def _plan(
    recipe: EmbeddedRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Assembly:
    """A folder with the image, the sources that check and embed it, and their objects."""
    image = firmware_image.plan(recipe, artifact, about, extras)
    sources = plan_sources(image, embeds=True, budget=recipe.slot_size)
    inputs = (("model.img", image), ("sources", sources))
    if recipe.compiler is None:
        return Assembly("firmware.embedded", inputs)
    objects = Action(
        name="firmware.objects",
        worker=Path(__file__).with_name("worker_objects.py"),
        toolchain="host",
        recipe=frozen_recipe({"compiler": recipe.compiler, "flags": recipe.compiler_flags}),
        inputs=(("image", image), ("sources", sources)),
        programs=compiler_programs(recipe.compiler),
    )
    return Assembly("firmware.embedded", (*inputs, ("objects", objects)))


EMBEDDED_MODEL = Packager(
    name="embedded-model",
    builder="EmbeddedModel",
    format="embedded model",
    kind="tree",
    recipe=EmbeddedRecipe,
    check=firmware_image.check,
    plan=_plan,
    label=lambda _: "version 1",
    nodes=lambda recipe: (*SOURCES, *_EMBEDDING, *(_OBJECTS if recipe.compiler else ())),
    size_limit=firmware_image.size_limit,
)
