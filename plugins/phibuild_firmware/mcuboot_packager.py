"""The packager behind `env.MCUbootImage`: its recipe, its room, its plan, and what `show` says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from phibuild.api import (
    Action,
    ArtifactFacts,
    Description,
    Extras,
    FileInput,
    PackagingError,
    RecipeError,
    Room,
    frozen_recipe,
    recipe_field,
)
from phibuild_firmware import mcuboot
from phibuild_firmware.actions import with_key

_HERE = Path(__file__).parent
_FOLDERS = ("ONNX", "OpenVINO IR", "MLX", "embedded model", "device sources")


@dataclass(frozen=True, slots=True)
class McubootRecipe:
    """How a file becomes an MCUboot image; names as imgtool has them."""

    outdated: ClassVar[dict[str, str]] = {"key": "signing_key"}

    version: str | None = recipe_field(
        None, 'version that MCUboot compares, "1.2.3" or "1.2.3+4"; has to be given', kind="str"
    )
    slot_size: int | None = recipe_field(
        None, "bytes of the slot, with the trailer; checked before any work is done", kind="size"
    )
    header_size: int = recipe_field(
        4096, "where the payload begins: a multiple of 32, of 4096 to be mapped", kind="size"
    )
    erase_size: int | None = recipe_field(
        None, "the trailer gets erase blocks of this size for itself", kind="size"
    )
    align: int = recipe_field(
        8, "bytes that the flash writes at once", kind="int", choices=(1, 2, 4, 8, 16, 32)
    )
    max_sectors: int = recipe_field(
        128, "sectors of the slot that the trailer can tell of", kind="int", minimum=1
    )
    overwrite_only: bool = recipe_field(
        False, "MCUboot overwrites and does not swap: the trailer is small", kind="bool"
    )

    def __post_init__(self) -> None:
        """RecipeError PHI202 for sizes and versions that no image can have."""

        def wrong(field: str, hint: str) -> RecipeError:
            value = getattr(self, field)
            return RecipeError(f"{field}={value!r} is not possible", hint=hint, code="PHI202")

        try:
            mcuboot.parse_version(self.version or "")
        except ValueError:
            raise wrong("version", 'write version="1.2.3" or "1.2.3+4"') from None
        if self.header_size % 32 or not 32 <= self.header_size < 1 << 16:
            raise wrong("header_size", "a multiple of 32 below 64 KiB, such as 4096")
        if self.erase_size is not None and self.erase_size < 1:
            raise wrong("erase_size", "the size of a block of the flash, such as 4096")
        if self.slot_size is not None and payload_room(self) < 1:
            raise wrong("slot_size", "more than header, signature and trailer take")


def payload_room(recipe: McubootRecipe) -> int:
    """What a slot leaves for the payload."""
    assert recipe.slot_size is not None
    return recipe.slot_size - recipe.header_size - mcuboot.TLVS_SIZE - _trailer(recipe)


def _trailer(recipe: McubootRecipe) -> int:
    size = mcuboot.trailer_size(
        recipe.align, recipe.max_sectors, overwrite_only=recipe.overwrite_only
    )
    block = recipe.erase_size or 1
    return -(-size // block) * block


def room(recipe: McubootRecipe, about: ArtifactFacts) -> Room | None:
    """The same, and what it is made of, for people."""
    if recipe.slot_size is None:
        return None
    return Room(
        payload_room(recipe),
        f"slot_size of {recipe.slot_size:,} bytes less a header of {recipe.header_size:,},"
        f" {mcuboot.TLVS_SIZE} of TLVs and a trailer of {_trailer(recipe):,}",
    )


def holds(recipe: McubootRecipe, size: int) -> int:
    """The largest payload of an image of this size."""
    return size - recipe.header_size - mcuboot.TLVS_SIZE


def check(recipe: McubootRecipe, about: ArtifactFacts, extras: Extras) -> None:
    """RecipeError PHI203 for a folder, or without a key."""
    if about.format in _FOLDERS:
        raise RecipeError(
            f"an MCUboot image holds one file, and {about.format} is a folder",
            hint="pack it first, with env.FirmwareImage(...)",
            code="PHI203",
        )
    if "signing_key" not in extras:
        raise RecipeError(
            "an MCUboot image has to be signed",
            hint='write signing_key="keys/model.pem", an ed25519 key',
            code="PHI203",
        )


def plan(
    recipe: McubootRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Action:
    """What writes the image: a file."""
    fields = {
        "version": mcuboot.parse_version(recipe.version or ""),
        "header_size": recipe.header_size,
        "room": None if recipe.slot_size is None else payload_room(recipe),
    }
    action = Action(
        name="firmware.mcuboot",
        worker=_HERE / "worker_mcuboot.py",
        toolchain="signing",
        recipe=frozen_recipe(fields),
        inputs=(("artifact", artifact),),
    )
    return with_key(action, "signing_key", extras)


def label(recipe: McubootRecipe) -> str:
    """What the summary shows: the version."""
    return str(recipe.version)


def describe(path: Path) -> Description:
    """What the header and the TLVs say; PackagingError PHI702 if the digest is another one."""
    try:
        with path.open("rb") as image:
            found = mcuboot.parse(image.read(32))
            image.seek(0)
            digest, left = hashlib.sha256(), found.header_size + found.payload_size
            while left and (content := image.read(min(left, 1 << 20))):
                digest.update(content)
                left -= len(content)
            values = mcuboot.parse_tlvs(image.read())
        if digest.digest() != values[mcuboot.SHA256]:
            raise mcuboot.BadMcubootImage("it does not have the digest that it says")
    except mcuboot.BadMcubootImage as error:
        raise PackagingError(f"{path}: {error}", hint="build it again", code="PHI702") from None
    metadata = {
        "version": str(found.version),
        "header_size": str(found.header_size),
        "payload_size": str(found.payload_size),
        "sha256": values[mcuboot.SHA256].hex(),
        "signature": "ed25519",
        "key_hash": values[mcuboot.KEYHASH].hex(),
    }
    return Description("MCUboot image", (), tuple(metadata.items()))
