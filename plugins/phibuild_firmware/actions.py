"""The actions of the firmware packager: write an image, and the sources that belong to it."""

from __future__ import annotations

from pathlib import Path

from phibuild_delta import DEVICE_SOURCES

from phibuild.api import (
    Action,
    ArtifactFacts,
    Assembly,
    Extras,
    FileInput,
    RecipeError,
    frozen_recipe,
)
from phibuild_firmware.budget import ram_room
from phibuild_firmware.programs import FILE_SYSTEMS, compiler_programs
from phibuild_firmware.recipe import DeviceRecipe, EmbeddedRecipe, ImageRecipe

_HERE = Path(__file__).parent
IMAGE = "model.img"
_DEVICE = (*(_HERE / "device" / name for name in ("phi_model.h", "phi_model.c")), *DEVICE_SOURCES)
_SOURCES = (*(path.name for path in _DEVICE), "phi_model_data.h")
_EMBEDDING = ("phi_model_data.S", "phi_model_data.ld")
_OBJECTS = ("phi_model.o", "phi_model_data.o")
_FORMATS = {"GGUF": "GGUF", "ONNX": "ONNX", "OpenVINO IR": "OVIR", "MLX": "MLX "}
_PACKAGES = ("model image", "embedded model", "device sources", "MCUboot image")
_DESCRIPTIONS = ("Zephyr", "Yocto", "ESP-IDF", "genimage")
_NOT_MODELS = ("answer", "imatrix", *_PACKAGES, *_DESCRIPTIONS)


def check(recipe: ImageRecipe, about: ArtifactFacts, extras: Extras) -> None:
    """RecipeError PHI203 for what is no model."""
    if about.format in _NOT_MODELS:
        raise RecipeError(
            f"a model image cannot hold the format {about.format!r}",
            hint="pass what env.GGUF(...) or another builder of models returned",
            code="PHI203",
        )


def check_device(recipe: DeviceRecipe, about: ArtifactFacts, extras: Extras) -> None:
    """RecipeError PHI203 for what is no model image."""
    if about.format not in ("", "model image"):
        raise RecipeError(
            f"DeviceSources is made of a model image, not of the format {about.format!r}",
            hint="pass what env.FirmwareImage(...) returned",
            code="PHI203",
        )


def plan_image(
    recipe: ImageRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Action:
    """What writes the image: a file."""
    digests = about.model.slices
    ram = ram_room(recipe, about)
    fields = {
        "format": _FORMATS.get(about.format, "FILE"),
        "model_id": recipe.model_id or about.model_name[:64],
        "recipe": f"{about.format} {about.label}".strip()[:128],
        "tokenizer": digests.get("tokenizer", "").removeprefix("sha256:"),
        "chat_template": digests.get("chat_template", "").removeprefix("sha256:"),
        "container": recipe.container,
        "alignment": recipe.alignment,
        "erase_size": recipe.erase_size or 1,
        "slot_size": recipe.slot_size,
        "ram_room": ram.bytes if ram is not None else None,
    }
    action = Action(
        name="firmware.image",
        worker=_HERE / "worker_image.py",
        toolchain="host",
        recipe=frozen_recipe(fields),
        inputs=(("artifact", artifact),),
        programs=tuple(one for name, one in FILE_SYSTEMS.items() if name == recipe.container),
    )
    return with_key(action, "signing_key", extras)


def plan_embedded(
    recipe: EmbeddedRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Assembly:
    """A folder with the image, the sources that check it and that embed it, and their objects."""
    image = plan_image(recipe, artifact, about, extras)
    sources = _sources(image, embeds=True, budget=recipe.slot_size)
    inputs = ((IMAGE, image), ("sources", sources))
    if recipe.compiler is None:
        return Assembly("firmware.embedded", inputs)
    objects = Action(
        name="firmware.objects",
        worker=_HERE / "worker_objects.py",
        toolchain="host",
        recipe=frozen_recipe({"compiler": recipe.compiler, "flags": recipe.compiler_flags}),
        inputs=(("image", image), ("sources", sources)),
        programs=compiler_programs(recipe.compiler),
    )
    return Assembly("firmware.embedded", (*inputs, ("objects", objects)))


def plan_device(
    recipe: DeviceRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Action:
    """A folder with the sources that check this image."""
    return with_key(_sources(artifact, embeds=False, budget=None), "public_key", extras)


def with_key(action: Action, name: str, extras: Extras) -> Action:
    """The same action with the key of this name, where there is one. Only then it runs where
    `cryptography` is installed."""
    if name not in extras:
        return action
    return action._replace(
        toolchain="signing",
        inputs=(*action.inputs, (name, extras[name])),
    )


def embedded_nodes(recipe: EmbeddedRecipe) -> tuple[str, ...]:
    """The files of an embedded model that a firmware compiles or links."""
    return (*_SOURCES, *_EMBEDDING, *(_OBJECTS if recipe.compiler else ()))


def sources_nodes(recipe: DeviceRecipe) -> tuple[str, ...]:
    """The files that a firmware compiles to check an image."""
    return _SOURCES


def label(recipe: ImageRecipe) -> str:
    """What the summary shows: the version of the descriptor."""
    return "version 1"


def label_device(recipe: DeviceRecipe) -> str:
    """What the summary shows."""
    return "C99"


def _sources(image: Action | FileInput, *, embeds: bool, budget: int | None) -> Action:
    return Action(
        name="firmware.sources",
        worker=_HERE / "worker_sources.py",
        worker_files=_DEVICE,
        toolchain="host",
        recipe=frozen_recipe({"embeds": embeds, "budget": budget}),
        inputs=(("image", image),),
    )
