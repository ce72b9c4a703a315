"""ESP-IDF: entries for the partition table, one for each slot of the model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from phibuild.api import Action, ArtifactFacts, Extras, FileInput, Packager, recipe_field
from phibuild_firmware.descriptions.text import (
    ROUNDED,
    comment,
    description,
    limit_of,
    required,
    wrong,
)

_BLOCK = 0x1000


@dataclass(frozen=True, slots=True)
class EspRecipe:
    """The columns of a partition table. Custom types and subtypes are numbers."""

    outdated: ClassVar[dict[str, str]] = {}

    name: str = recipe_field(
        "model", "of the partition, at most 16 bytes with _a or _b", kind="str"
    )
    type: str = recipe_field("data", '"data", or a number from 0x40 to 0xfe', kind="str")
    subtype: str = recipe_field("undefined", '"undefined", or a number to 0xfe', kind="str")
    offset: int | None = recipe_field(
        None, "where the first slot begins; after the partition before it", kind="size"
    )
    size: int | None = recipe_field(
        None,
        "of a slot; the image's, in whole blocks of 4 KiB; required for two slots",
        kind="size",
    )
    slots: int = recipe_field(1, "2 for name_a and name_b", kind="int", choices=(1, 2))
    flags: tuple[str, ...] = recipe_field(
        (), "of the partition", kind="strs", choices=("encrypted", "readonly")
    )


def _check(recipe: EspRecipe, about: ArtifactFacts, extras: Extras) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", recipe.name) or len(_names(recipe)[-1]) > 16:
        raise wrong(recipe, "name", "letters, digits, _ . and -; at most 16 with the slot's suffix")
    if recipe.type != "data" and not 0x40 <= _number(recipe.type) <= 0xFE:
        raise wrong(recipe, "type", '"data", or a number from 0x40 to 0xfe')
    named = recipe.subtype == "undefined" and recipe.type == "data"
    if not named and not 0 <= _number(recipe.subtype) <= 0xFE:
        raise wrong(recipe, "subtype", '"undefined" (of type "data"), or a number from 0 to 0xfe')
    for field in ("offset", "size"):
        value = getattr(recipe, field)
        if value is not None and (value % _BLOCK or value == 0):
            raise wrong(recipe, field, "it must be a multiple of 4 KiB")
    if recipe.slots == 2:
        required(recipe, "size")


def _plan(recipe: EspRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras) -> Action:
    size = ROUNDED if recipe.size is None else hex(recipe.size)
    flags = ":".join(recipe.flags)
    rows = []
    for number, name in enumerate(_names(recipe)):
        offset = "" if recipe.offset is None else hex(recipe.offset + number * (recipe.size or 0))
        rows.append(f"{name}, {recipe.type}, {recipe.subtype}, {offset}, {size}, {flags}\n")
    head = comment(artifact, about) + "# Name, Type, SubType, Offset, Size, Flags\n"
    return description(head + "".join(rows), artifact, limit=recipe.size)


def _names(recipe: EspRecipe) -> tuple[str, ...]:
    return (recipe.name,) if recipe.slots == 1 else (f"{recipe.name}_a", f"{recipe.name}_b")


def _number(text: str) -> int:
    """-1 for a text that is not a number."""
    try:
        return int(text, 0)
    except ValueError:
        return -1


ESP_PARTITIONS = Packager(
    name="esp-partitions",
    builder="EspPartitions",
    format="ESP-IDF",
    kind="file",
    recipe=EspRecipe,
    check=_check,
    plan=_plan,
    label=lambda recipe: "A/B partitions" if recipe.slots == 2 else "partition",
    size_limit=lambda recipe, about: limit_of(recipe, "size"),
)
