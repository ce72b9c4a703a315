"""Descriptions of a model's image in the words of other systems, so that these fetch it, check it
and give it a place. One packager a system: a field that a system does not know is refused."""

from phibuild_firmware.descriptions.esp_idf import ESP_PARTITIONS
from phibuild_firmware.descriptions.genimage import GENIMAGE_SLOTS
from phibuild_firmware.descriptions.yocto import YOCTO_RECIPE
from phibuild_firmware.descriptions.zephyr import ZEPHYR_MODULE

PACKAGERS = (ZEPHYR_MODULE, YOCTO_RECIPE, ESP_PARTITIONS, GENIMAGE_SLOTS)
