"""The packager behind `env.FirmwareImage`: a model as an image for a partition of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from phibuild.api import (
    Action,
    ArtifactFacts,
    Description,
    Extras,
    FileInput,
    Packager,
    RecipeError,
    SizeLimit,
    frozen_recipe,
    recipe_field,
)
from phibuild_firmware.budget import memory_limit, slot_limit
from phibuild_firmware.describe import FORMAT, describe
from phibuild_firmware.keys import with_key
from phibuild_firmware.programs import FILE_SYSTEMS

_WORKER = Path(__file__).with_name("worker_image.py")


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """How an artifact becomes a model image."""

    outdated: ClassVar[dict[str, str]] = {}

    slot_size: int | None = recipe_field(
        None, "the most bytes that the image may have; checked before any work is done", kind="size"
    )
    erase_size: int | None = recipe_field(
        None, "the image is padded to a multiple of this, as flash is erased in blocks", kind="size"
    )
    ram_budget: int | None = recipe_field(
        None,
        "the most memory for weights, KV cache and ram_overhead together; checked like slot_size",
        kind="size",
    )
    context: int | None = recipe_field(
        None, "tokens that the KV cache is for, with ram_budget", kind="int", minimum=1
    )
    kv_bits: int = recipe_field(
        16, "bits of a number in the KV cache, with ram_budget", kind="int", choices=(8, 16, 32)
    )
    ram_overhead: int | None = recipe_field(
        None, "the runtime's own memory, measured on the device, with ram_budget", kind="size"
    )
    alignment: int = recipe_field(
        4096, "where the payload begins: a power of two, at least 512", kind="size"
    )
    container: str | None = recipe_field(
        None,
        "what the payload is packed in; by default a file stays a file, and a folder becomes a tar",
        kind="str",
        choices=("tar", "squashfs", "erofs"),
    )
    model_id: str | None = recipe_field(
        None, "name of the model in the descriptor, at most 64 bytes; its folder's name", kind="str"
    )

    def __post_init__(self) -> None:
        """RecipeError PHI202 for sizes that no image can have."""

        def wrong(field: str, hint: str) -> RecipeError:
            value = getattr(self, field)
            return RecipeError(f"{field}={value!r} is out of range", hint=hint, code="PHI202")

        if self.alignment < 512 or self.alignment & (self.alignment - 1):
            raise wrong("alignment", "a power of two, at least 512")
        if self.erase_size is not None and self.erase_size < 1:
            raise wrong("erase_size", "the size of a block of the flash, such as 4096")
        if self.slot_size is not None:
            if self.slot_size <= self.alignment:
                raise wrong("slot_size", f"more than the descriptor's page of {self.alignment}")
            if self.erase_size is not None and self.slot_size % self.erase_size:
                raise wrong("slot_size", f"a multiple of erase_size={self.erase_size}")
        if self.ram_budget is None:
            for field, unset in (("context", None), ("kv_bits", 16), ("ram_overhead", None)):
                if getattr(self, field) != unset:
                    raise RecipeError(
                        f"{field}={getattr(self, field)!r} has no effect without ram_budget",
                        hint=f"set ram_budget, or leave {field} out",
                        code="PHI203",
                    )
        else:
            for field in ("context", "ram_overhead"):
                if getattr(self, field) is None:
                    raise wrong(
                        field,
                        "ram_budget needs context=... and ram_overhead=...; the README of the"
                        " firmware plugin has values for each runtime",
                    )
        if len((self.model_id or "").encode()) > 64:
            raise wrong("model_id", "at most 64 bytes")


def check(recipe: ImageRecipe, about: ArtifactFacts, extras: Extras) -> None:
    """RecipeError PHI203 for an artifact that is not a model."""
    if not about.is_model:
        raise RecipeError(
            f"a model image cannot hold the format {about.format!r}",
            hint="pass what env.GGUF(...) or another builder of models returned",
            code="PHI203",
        )


def plan(recipe: ImageRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras) -> Action:
    """The action that writes the image: a file."""
    digests = about.model.slices
    memory = _memory_limit(recipe, about)
    fields = {
        "format": about.format_code,
        "file_name": f"model{about.suffix or '.bin'}",
        "model_id": recipe.model_id or about.model_name[:64],
        "recipe": f"{about.format} {about.label}".strip()[:128],
        "tokenizer": digests.get("tokenizer", "").removeprefix("sha256:"),
        "chat_template": digests.get("chat_template", "").removeprefix("sha256:"),
        "container": recipe.container,
        "alignment": recipe.alignment,
        "erase_size": recipe.erase_size or 1,
        "slot_size": recipe.slot_size,
        "memory_limit": memory.bytes if memory is not None else None,
    }
    action = Action(
        name="firmware.image",
        worker=_WORKER,
        toolchain="host",
        recipe=frozen_recipe(fields),
        inputs=(("artifact", artifact),),
        programs=(FILE_SYSTEMS[recipe.container],) if recipe.container in FILE_SYSTEMS else (),
    )
    return with_key(action, "signing_key", extras)


def size_limit(recipe: ImageRecipe, about: ArtifactFacts) -> SizeLimit | None:
    """The lower of the limits that slot and memory set."""
    slot = None if recipe.slot_size is None else slot_limit(recipe.slot_size, recipe.alignment)
    limits = [limit for limit in (slot, _memory_limit(recipe, about)) if limit is not None]
    return min(limits, default=None)


def _memory_limit(recipe: ImageRecipe, about: ArtifactFacts) -> SizeLimit | None:
    """None without a budget, and while the model's architecture is not known."""
    if recipe.ram_budget is None or not about.model.architecture:
        return None
    assert recipe.context is not None  # the recipe refuses a budget without them
    assert recipe.ram_overhead is not None
    return memory_limit(
        recipe.ram_budget,
        about.model.architecture,
        context=recipe.context,
        kv_bits=recipe.kv_bits,
        overhead=recipe.ram_overhead,
    )


def _payload_limit(recipe: ImageRecipe, size: int) -> int:
    return size - size % (recipe.erase_size or 1) - recipe.alignment


def _contents(path: Path) -> Description | None:
    from phibuild_firmware.contents import contents  # null builds need none of its imports

    return contents(path)


FIRMWARE_IMAGE = Packager(
    name="firmware-image",
    builder="FirmwareImage",
    format=FORMAT,
    kind="file",
    recipe=ImageRecipe,
    check=check,
    plan=plan,
    label=lambda _: "version 1",
    extras=("signing_key",),
    describe=describe,
    contents=_contents,
    size_limit=size_limit,
    payload_limit=_payload_limit,
)
