"""The packager behind `env.MCUbootImage`: one file as a signed image that MCUboot can install."""

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
    Packager,
    PackagingError,
    RecipeError,
    SizeLimit,
    frozen_recipe,
    recipe_field,
)
from phibuild_firmware import mcuboot
from phibuild_firmware.keys import with_key

_FORMAT = "MCUboot image"
_WORKER = Path(__file__).with_name("worker_mcuboot.py")


@dataclass(frozen=True, slots=True)
class McubootRecipe:
    """How a file becomes an MCUboot image; the names are imgtool's."""

    outdated: ClassVar[dict[str, str]] = {"key": "signing_key"}

    version: str | None = recipe_field(
        None, 'version that MCUboot compares, "1.2.3" or "1.2.3+4"; required', kind="str"
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
        128, "sectors of the slot that the trailer covers", kind="int", minimum=1
    )
    overwrite_only: bool = recipe_field(
        False, "MCUboot overwrites and does not swap: the trailer is small", kind="bool"
    )

    def __post_init__(self) -> None:
        """RecipeError PHI202 for sizes and versions that no image can have."""

        def wrong(field: str, hint: str) -> RecipeError:
            value = getattr(self, field)
            return RecipeError(f"{field}={value!r} is not valid", hint=hint, code="PHI202")

        try:
            mcuboot.parse_version(self.version or "")
        except ValueError:
            raise wrong("version", 'write version="1.2.3" or "1.2.3+4"') from None
        if self.header_size % 32 or not 32 <= self.header_size < 1 << 16:
            raise wrong("header_size", "a multiple of 32 below 64 KiB, such as 4096")
        if self.erase_size is not None and self.erase_size < 1:
            raise wrong("erase_size", "the size of a block of the flash, such as 4096")
        if self.slot_size is not None and slot_limit(self, self.slot_size) < 1:
            raise wrong("slot_size", "more than header, signature and trailer")


def slot_limit(recipe: McubootRecipe, slot_size: int) -> int:
    """The largest payload of a slot."""
    return payload_limit(recipe, slot_size - _trailer_size(recipe))


def payload_limit(recipe: McubootRecipe, size: int) -> int:
    """The largest payload of an image of at most this size."""
    return size - recipe.header_size - mcuboot.TLVS_SIZE


def _trailer_size(recipe: McubootRecipe) -> int:
    size = mcuboot.trailer_size(
        recipe.align, recipe.max_sectors, overwrite_only=recipe.overwrite_only
    )
    block = recipe.erase_size or 1
    return -(-size // block) * block


def _size_limit(recipe: McubootRecipe, about: ArtifactFacts) -> SizeLimit | None:
    if recipe.slot_size is None:
        return None
    return SizeLimit(
        slot_limit(recipe, recipe.slot_size),
        f"slot_size of {recipe.slot_size:,} bytes less a header of {recipe.header_size:,},"
        f" {mcuboot.TLVS_SIZE} of TLVs and a trailer of {_trailer_size(recipe):,}",
    )


def _check(recipe: McubootRecipe, about: ArtifactFacts, extras: Extras) -> None:
    """RecipeError PHI203 for a folder, or without a key."""
    if about.kind == "tree":
        raise RecipeError(
            f"an MCUboot image holds one file, and {about.format} is a folder",
            hint="pack it first, with env.FirmwareImage(...)",
            code="PHI203",
        )
    if "signing_key" not in extras:
        raise RecipeError(
            "an MCUboot image requires a signature",
            hint='write signing_key="keys/model.pem", an ed25519 key',
            code="PHI203",
        )


def _plan(
    recipe: McubootRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Action:
    slot = recipe.slot_size
    fields = {
        "version": mcuboot.parse_version(recipe.version or ""),
        "header_size": recipe.header_size,
        "payload_limit": None if slot is None else slot_limit(recipe, slot),
    }
    action = Action(
        name="firmware.mcuboot",
        worker=_WORKER,
        toolchain="signing",
        recipe=frozen_recipe(fields),
        inputs=(("artifact", artifact),),
    )
    return with_key(action, "signing_key", extras)


def _describe(path: Path) -> Description:
    """The header and the TLVs; PackagingError PHI702 if the digest is wrong."""
    try:
        with path.open("rb") as image:
            header = mcuboot.parse(image.read(32))
            image.seek(0)
            digest, left = hashlib.sha256(), header.header_size + header.payload_size
            while left and (content := image.read(min(left, 1 << 20))):
                digest.update(content)
                left -= len(content)
            values = mcuboot.parse_tlvs(image.read())
        if digest.digest() != values[mcuboot.SHA256]:
            raise mcuboot.BadMcubootImage("its digest does not match its bytes")
    except mcuboot.BadMcubootImage as error:
        raise PackagingError(f"{path}: {error}", hint="build it again", code="PHI702") from None
    metadata = {
        "version": str(header.version),
        "header_size": str(header.header_size),
        "payload_size": str(header.payload_size),
        "sha256": values[mcuboot.SHA256].hex(),
        "signature": "ed25519",
        "key_hash": values[mcuboot.KEYHASH].hex(),
    }
    return Description(_FORMAT, (), tuple(metadata.items()))


MCUBOOT_IMAGE = Packager(
    name="mcuboot-image",
    builder="MCUbootImage",
    format=_FORMAT,
    kind="file",
    recipe=McubootRecipe,
    check=_check,
    plan=_plan,
    label=lambda recipe: str(recipe.version),
    extras=("signing_key",),
    describe=_describe,
    size_limit=_size_limit,
    payload_limit=payload_limit,
)
