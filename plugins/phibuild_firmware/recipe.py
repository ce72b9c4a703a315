"""The recipes of the firmware packager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from phibuild.api import RecipeError, recipe_field


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
        None, "what the runtime takes besides, measured on the device, with ram_budget", kind="size"
    )
    alignment: int = recipe_field(
        4096, "where the payload begins: a power of two, at least 512", kind="size"
    )
    container: str | None = recipe_field(
        None,
        "what the payload is packed in; by itself a file stays a file, and a folder becomes a tar",
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
        if self.ram_budget is not None:
            for field in ("context", "ram_overhead"):
                if getattr(self, field) is None:
                    raise wrong(
                        field,
                        "ram_budget needs context=... and ram_overhead=...; the README of the"
                        " firmware plugin has what runtimes take",
                    )
        if len((self.model_id or "").encode()) > 64:
            raise wrong("model_id", "at most 64 bytes")


@dataclass(frozen=True, slots=True)
class EmbeddedRecipe(ImageRecipe):
    """How an artifact becomes a part of a firmware."""

    compiler: str | None = recipe_field(
        None,
        "a cross compiler by its name on the PATH, such as arm-none-eabi-gcc: adds objects",
        kind="str",
    )
    compiler_flags: tuple[str, ...] = recipe_field(
        (), "flags of the firmware, such as -mcpu=cortex-m3, with compiler", kind="strs"
    )

    def __post_init__(self) -> None:
        """RecipeError PHI202 for what no compiler is called."""
        ImageRecipe.__post_init__(self)
        if self.compiler is not None and ("/" in self.compiler or not self.compiler):
            raise RecipeError(
                f"compiler={self.compiler!r} is not the name of a program",
                hint="write the name alone, and put its folder into PATH",
                code="PHI202",
            )
        if self.compiler_flags and self.compiler is None:
            raise RecipeError(
                "compiler_flags are for a compiler",
                hint='add compiler="arm-none-eabi-gcc", or another one',
                code="PHI202",
            )


@dataclass(frozen=True, slots=True)
class DeviceRecipe:
    """The sources that a device checks an image with: there is nothing to choose."""

    outdated: ClassVar[dict[str, str]] = {}
