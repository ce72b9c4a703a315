"""The firmware packager: models as images and as part of a firmware, and what a device needs to
check them."""

from __future__ import annotations

from typing import Any

from phibuild.api import Command, Packager, hookimpl
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
from phibuild_firmware.budget import room
from phibuild_firmware.describe import describe
from phibuild_firmware.descriptions import PACKAGERS as DESCRIPTIONS
from phibuild_firmware.recipe import DeviceRecipe, ImageRecipe


def _delta() -> Any:
    from phibuild_firmware.delta.command import command

    return command


@hookimpl
def phibuild_commands() -> tuple[Command, ...]:
    """`phibuild delta`."""
    return (Command("delta", load=_delta),)


@hookimpl
def phibuild_packagers() -> tuple[Packager, ...]:
    """The builders `env.FirmwareImage`, `env.EmbeddedModel` and `env.DeviceSources`, and those of
    descriptions for other systems."""
    return (
        Packager(
            name="firmware-image",
            builder="FirmwareImage",
            format="model image",
            recipe=ImageRecipe,
            check=check,
            plan=plan_image,
            label=label,
            describe=describe,
            room=room,
        ),
        Packager(
            name="embedded-model",
            builder="EmbeddedModel",
            format="embedded model",
            recipe=ImageRecipe,
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
            nodes=sources_nodes,
        ),
        *DESCRIPTIONS,
    )
