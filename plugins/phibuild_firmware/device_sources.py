"""The packager behind `env.DeviceSources`: the C sources with which a firmware checks one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from phibuild_delta import DEVICE_SOURCES as DELTA_SOURCES

from phibuild.api import (
    Action,
    ArtifactFacts,
    Extras,
    FileInput,
    Packager,
    RecipeError,
    frozen_recipe,
)
from phibuild_firmware.describe import FORMAT
from phibuild_firmware.keys import with_key

_HERE = Path(__file__).parent
_DEVICE = (*(_HERE / "device" / name for name in ("phi_model.h", "phi_model.c")), *DELTA_SOURCES)
SOURCES = (*(path.name for path in _DEVICE), "phi_model_data.h")


@dataclass(frozen=True, slots=True)
class DeviceRecipe:
    """The sources have no options."""

    outdated: ClassVar[dict[str, str]] = {}


def plan_sources(
    image: Action | FileInput, *, embeds: bool = False, budget: int | None = None
) -> Action:
    """The action that writes a folder of sources: `embeds` adds those that put the image into the
    firmware, in which it may have `budget` bytes."""
    return Action(
        name="firmware.sources",
        worker=_HERE / "worker_sources.py",
        worker_files=_DEVICE,
        toolchain="host",
        recipe=frozen_recipe({"embeds": embeds, "budget": budget}),
        inputs=(("image", image),),
    )


def _check(recipe: DeviceRecipe, about: ArtifactFacts, extras: Extras) -> None:
    if about.format not in ("", FORMAT):
        raise RecipeError(
            f"DeviceSources requires a model image, not the format {about.format!r}",
            hint="pass what env.FirmwareImage(...) returned",
            code="PHI203",
        )


def _plan(
    recipe: DeviceRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Action:
    return with_key(plan_sources(artifact), "public_key", extras)


DEVICE_SOURCES = Packager(
    name="device-sources",
    builder="DeviceSources",
    format="device sources",
    kind="tree",
    recipe=DeviceRecipe,
    check=_check,
    plan=_plan,
    label=lambda _: "C99",
    extras=("public_key",),
    nodes=lambda _: SOURCES,
)
