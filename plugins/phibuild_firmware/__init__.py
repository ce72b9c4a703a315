"""The firmware packager: models as images and as part of a firmware, and what a device needs to
check them."""

from __future__ import annotations

from pathlib import Path

from phibuild.api import Packager, PythonToolchain, hookimpl
from phibuild_firmware import mcuboot_packager
from phibuild_firmware.actions import (
    check,
    check_device,
    embedded_nodes,
    label,
    label_device,
    plan_device,
    plan_embedded,
    plan_image,
    sources_nodes,
)
from phibuild_firmware.budget import holds, room
from phibuild_firmware.describe import describe
from phibuild_firmware.descriptions import PACKAGERS as DESCRIPTIONS
from phibuild_firmware.recipe import DeviceRecipe, EmbeddedRecipe, ImageRecipe


@hookimpl
def phibuild_toolchains() -> tuple[PythonToolchain, ...]:
    """What signs, and checks signatures: installed by those who do."""
    lock = Path(__file__).with_name("toolchain.lock")
    return (PythonToolchain("signing", lock, roots=("cryptography",)),)


@hookimpl
def phibuild_packagers() -> tuple[Packager, ...]:
    """The builders `env.FirmwareImage`, `env.EmbeddedModel`, `env.DeviceSources` and
    `env.MCUbootImage`, and those of descriptions for other systems."""
    return (
        Packager(
            name="firmware-image",
            builder="FirmwareImage",
            format="model image",
            recipe=ImageRecipe,
            check=check,
            plan=plan_image,
            label=label,
            extras=("signing_key",),
            describe=describe,
            room=room,
            holds=holds,
        ),
        Packager(
            name="embedded-model",
            builder="EmbeddedModel",
            format="embedded model",
            recipe=EmbeddedRecipe,
            check=check,
            plan=plan_embedded,
            label=label,
            nodes=embedded_nodes,
            room=room,
        ),
        Packager(
            name="device-sources",
            builder="DeviceSources",
            format="device sources",
            recipe=DeviceRecipe,
            check=check_device,
            plan=plan_device,
            label=label_device,
            extras=("public_key",),
            nodes=sources_nodes,
        ),
        Packager(
            name="mcuboot-image",
            builder="MCUbootImage",
            format="MCUboot image",
            recipe=mcuboot_packager.McubootRecipe,
            check=mcuboot_packager.check,
            plan=mcuboot_packager.plan,
            label=mcuboot_packager.label,
            extras=("signing_key",),
            describe=mcuboot_packager.describe,
            room=mcuboot_packager.room,
            holds=mcuboot_packager.holds,
        ),
        *DESCRIPTIONS,
    )
