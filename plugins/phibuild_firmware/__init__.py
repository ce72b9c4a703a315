"""The firmware packagers: models as images and as part of a firmware, and what a device needs to
check them."""

from __future__ import annotations

from pathlib import Path

from phibuild.api import Packager, PythonToolchain, hookimpl
from phibuild_firmware.descriptions import PACKAGERS as DESCRIPTIONS
from phibuild_firmware.device_sources import DEVICE_SOURCES
from phibuild_firmware.embedded_model import EMBEDDED_MODEL
from phibuild_firmware.firmware_image import FIRMWARE_IMAGE
from phibuild_firmware.mcuboot_image import MCUBOOT_IMAGE


@hookimpl
def phibuild_packagers() -> tuple[Packager, ...]:
    """The builders for images and sources, and for descriptions for other systems."""
    return (FIRMWARE_IMAGE, EMBEDDED_MODEL, DEVICE_SOURCES, MCUBOOT_IMAGE, *DESCRIPTIONS)


@hookimpl
def phibuild_toolchains() -> tuple[PythonToolchain, ...]:
    """The interpreter that signs and checks signatures."""
    lock = Path(__file__).with_name("toolchain.lock")
    return (PythonToolchain("signing", lock, roots=("cryptography",)),)
