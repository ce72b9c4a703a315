"""Descriptions of a model image for other systems, which fetch it, check it and store it. Each
system has a packager of its own, so a field that it does not know is refused."""

from phibuild_firmware.descriptions.esp_idf import ESP_PARTITIONS
from phibuild_firmware.descriptions.genimage import GENIMAGE_SLOTS
from phibuild_firmware.descriptions.yocto import YOCTO_RECIPE
from phibuild_firmware.descriptions.zephyr import ZEPHYR_MODULE

PACKAGERS = (ZEPHYR_MODULE, YOCTO_RECIPE, ESP_PARTITIONS, GENIMAGE_SLOTS)
