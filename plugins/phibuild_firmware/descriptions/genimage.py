"""genimage: a disk image with a slot for the model and one for its successor, both filled."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import ClassVar

from phibuild.api import Action, ArtifactFacts, Extras, FileInput, Packager, recipe_field
from phibuild_firmware.descriptions.text import (
    comment,
    description,
    limit_of,
    name_of,
    plain,
    required,
    wrong,
)

_LONGEST = 36  # characters of a partition's name in a GPT
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "phibuild:genimage")


@dataclass(frozen=True, slots=True)
class GenimageRecipe:
    """The disk and its slots."""

    outdated: ClassVar[dict[str, str]] = {}

    slot_size: int | None = recipe_field(None, "bytes of each slot; required", kind="size")
    slots: tuple[str, ...] = recipe_field(
        ("model_a", "model_b"), "names of the partitions", kind="strs"
    )
    disk: str = recipe_field("models.img", "file name of the disk image", kind="str")
    partition_table: str = recipe_field(
        "gpt", "kind of partition table", kind="str", choices=("gpt", "mbr")
    )
    alignment: int = recipe_field(
        1 << 20,
        "where slots may begin: slot_size must be a multiple of it",
        kind="size",
        minimum=512,
    )


def _check(recipe: GenimageRecipe, about: ArtifactFacts, extras: Extras) -> None:
    required(recipe, "slot_size")
    plain(recipe, "disk")
    assert recipe.slot_size is not None
    if recipe.alignment % 512:
        raise wrong(recipe, "alignment", "it must be a multiple of a sector, 512")
    if recipe.slot_size % recipe.alignment or recipe.slot_size == 0:
        raise wrong(recipe, "slot_size", f"it must be a multiple of alignment={recipe.alignment}")
    most = 4 if recipe.partition_table == "mbr" else 128
    names = recipe.slots
    if not 1 <= len(names) <= most or len(set(names)) != len(names):
        raise wrong(
            recipe,
            "slots",
            f"they must be different names, at most {most} in {recipe.partition_table}",
        )
    if not all(re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{_LONGEST}}}", name) for name in names):
        raise wrong(
            recipe,
            "slots",
            f"a name must be letters, digits, _ . and -, at most {_LONGEST} of them",
        )


def _plan(
    recipe: GenimageRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Action:
    is_gpt = recipe.partition_table == "gpt"
    disk = [f'partition-table-type = "{recipe.partition_table}"', f"align = {recipe.alignment}"]
    # Without identifiers genimage would use random ones; these are the same for each model.
    disk.append(
        f'disk-uuid = "{_identifier(recipe.disk)}"' if is_gpt else "disk-signature = 0x50484931"
    )
    text = f'{comment(artifact, about)}image "{recipe.disk}" {{\n' + _section("hdimage", disk)
    for name in recipe.slots:
        slot = [f'image = "{name_of(artifact)}"', f"size = {recipe.slot_size}"]
        slot.append(
            f'partition-uuid = "{_identifier(f"{recipe.disk}/{name}")}"'
            if is_gpt
            else "partition-type = 0x83"
        )
        text += _section(f'partition "{name}"', slot)
    return description(text + "}\n", artifact, limit=recipe.slot_size)


def _section(head: str, lines: list[str]) -> str:
    return f"\t{head} {{\n" + "".join(f"\t\t{line}\n" for line in lines) + "\t}\n"


def _identifier(name: str) -> uuid.UUID:
    return uuid.uuid5(_SPACE, name)


GENIMAGE_SLOTS = Packager(
    name="genimage-slots",
    builder="GenimageSlots",
    format="genimage",
    kind="file",
    recipe=GenimageRecipe,
    check=_check,
    plan=_plan,
    label=lambda recipe: f"{len(recipe.slots)} slots",
    size_limit=lambda recipe, about: limit_of(recipe, "slot_size"),
)
