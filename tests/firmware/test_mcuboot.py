"""MCUboot images: byte for byte as imgtool writes them, accepted by it, within their slots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from phibuild_firmware import mcuboot
from phibuild_firmware.mcuboot_image import McubootRecipe, payload_limit, slot_limit

from phibuild.engine.workshop import Workshop
from phibuild.registry import load_registry
from phibuild.store import Store
from tests.conftest import Project
from tests.firmware.test_signing import put_keys

PACKED = 'env.MCUbootImage("build/m.bin", "model.bin", signing_key="model.pem", {fields})\n'


@pytest.fixture
def booting(make_project: Callable[[str], Project], tmp_path: Path) -> Project:
    """A project with a key, and a file to pack that no other test has."""
    project = make_project("booting")
    (project.folder / "model.bin").write_bytes((str(tmp_path).encode() * 2000)[:70_001])
    put_keys(project, 1)
    return project


def imgtool(project: Project, *arguments: str) -> tuple[int, str]:
    ran = project.run("imgtool", *arguments)
    return ran.status, ran.text


@pytest.mark.toolchain
@pytest.mark.parametrize("options", [{}, {"header_size": 512, "align": 32, "max_sectors": 64}])
def test_the_bytes_are_those_of_imgtool(booting: Project, options: dict[str, int]) -> None:
    fields = "".join(f", {name}={value}" for name, value in options.items())
    booting.sconstruct(PACKED.format(fields=f'version="1.2.3+4", slot_size="128 KiB"{fields}'))
    ran = booting.scons()
    assert ran.status == 0, ran.text
    header, align = options.get("header_size", 4096), options.get("align", 8)
    command = ["sign", "-k", "model.pem", "-v", "1.2.3+4", "-H", str(header), "--pad-header"]
    more = ["--align", str(align), "-M", str(options.get("max_sectors", 128)), "-S", "131072"]
    status, text = imgtool(booting, *command, *more, "model.bin", "theirs.bin")
    assert status == 0, text
    ours = (booting.folder / "build" / "m.bin").read_bytes()
    assert ours == (booting.folder / "theirs.bin").read_bytes()
    assert ours[header : header + 70_001] == (booting.folder / "model.bin").read_bytes()


@pytest.mark.toolchain
def test_imgtool_accepts_the_right_key_and_refuses_another_and_a_flipped_byte(
    booting: Project,
) -> None:
    booting.sconstruct(PACKED.format(fields='version="1.2.3"'))
    assert booting.scons().status == 0
    status, text = imgtool(booting, "verify", "-k", "model.pub.pem", "build/m.bin")
    assert status == 0, text
    assert "Image version: 1.2.3+0" in text
    intact = (booting.folder / "build" / "m.bin").read_bytes()
    for at, said in (
        (24, "invalid hash"),
        (5000, "invalid hash"),
        (len(intact) - 1, "No signature found"),
    ):
        changed = intact[:at] + bytes([intact[at] ^ 1]) + intact[at + 1 :]
        (booting.folder / "flipped.bin").write_bytes(changed)
        status, text = imgtool(booting, "verify", "-k", "model.pub.pem", "flipped.bin")
        assert (status, said in text) == (1, True), text
    put_keys(booting, 2)
    status, text = imgtool(booting, "verify", "-k", "model.pub.pem", "build/m.bin")
    assert (status, "No signature found" in text) == (1, True)
    shown = booting.phibuild("show", "build/m.bin").text
    assert "version = 1.2.3+0" in shown
    assert "key_hash = " in shown


@pytest.mark.toolchain
def test_a_payload_larger_than_its_slot_is_refused_as_by_imgtool(booting: Project) -> None:
    """The smallest slot that both accept, and one byte less."""
    trailer = mcuboot.trailer_size(8, 128, overwrite_only=False)
    least = 4096 + 70_001 + mcuboot.TLVS_SIZE + trailer
    command = ("sign", "-k", "model.pem", "-v", "1.2.3", "-H", "4096", "--pad-header")
    for slot, fits in ((least, True), (least - 1, False)):
        booting.sconstruct(PACKED.format(fields=f'version="1.2.3", slot_size={slot}'))
        ran = booting.scons()
        assert (ran.status == 0) is fits, ran.text
        assert ("[PHI701] the payload has 70,001 bytes, 1 more than" in ran.text) is not fits
        more = ("--align", "8", "-S", str(slot), "model.bin", "theirs.bin")
        assert (imgtool(booting, *command, *more)[0] == 0) is fits


def test_the_trailer_has_erase_blocks_of_its_own_and_is_small_without_swaps() -> None:
    recipe = McubootRecipe(version="1.2.3", slot_size=1 << 20, erase_size=4096)
    assert slot_limit(recipe, 1 << 20) == (1 << 20) - 4096 - mcuboot.TLVS_SIZE - 4096
    recipe = McubootRecipe(version="1.2.3", slot_size=1 << 20, overwrite_only=True)
    assert slot_limit(recipe, 1 << 20) == (1 << 20) - 4096 - mcuboot.TLVS_SIZE - 32
    assert payload_limit(recipe, 100_000) == 100_000 - 4096 - mcuboot.TLVS_SIZE


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("", 'write version="1.2.3"'),
        ('version="1.2"', 'write version="1.2.3"'),
        ('version="256.0.0"', 'write version="1.2.3"'),
        ('version="1.2.3", header_size=100', "a multiple of 32 below 64 KiB"),
        ('version="1.2.3", header_size="64 KiB"', "a multiple of 32 below 64 KiB"),
        ('version="1.2.3", erase_size=0', "the size of a block"),
        ('version="1.2.3", slot_size=5000', "more than header, signature and trailer"),
        ('version="1.2.3", align=3', "possible values: 1, 2, 4, 8, 16, 32"),
        ('version="1.2.3", key="a.pem"', "write signing_key instead"),
    ],
)
def test_impossible_recipes_are_refused_when_the_sconstruct_is_read(
    project: Project, fields: str, said: str
) -> None:
    project.write("model.bin", "x")
    put_keys(project, 1)
    project.sconstruct(PACKED.format(fields=fields))
    ran = project.scons()
    assert ran.status == 2
    assert said in ran.text


def test_it_requires_a_signature(project: Project) -> None:
    project.write("model.bin", "x")
    project.sconstruct('env.MCUbootImage("build/m.bin", "model.bin", version="1.2.3")\n')
    ran = project.scons()
    assert ran.status == 2
    assert "[PHI203] an MCUboot image requires a signature" in ran.text


@pytest.mark.toolchain
def test_a_folder_is_packed_first(booting: Project) -> None:
    booting.write("model/a.txt", "a")
    booting.sconstruct(PACKED.replace("model.bin", "model").format(fields='version="1.2.3"'))
    ran = booting.scons()
    assert ran.status == 2
    assert "[PHI203] an MCUboot image holds one file" in ran.text


@pytest.mark.toolchain
def test_memory_does_not_grow_with_the_payload(project: Project) -> None:
    """With two sizes for which the build itself, whose peak a worker inherits, needs the same."""
    put_keys(project, 1)
    shop = Workshop.of(Store(Path(project.environment["PHIBUILD_STORE"])), load_registry())
    project.sconstruct(PACKED.format(fields='version="1.2.3"'))
    peaks = []
    for size in (160 << 20, 320 << 20):
        with (project.folder / "model.bin").open("wb") as file:
            file.truncate(size)
        ran = project.scons()
        assert ran.status == 0, ran.text
        manifest = shop.artifacts.manifest_of(project.folder / "build" / "m.bin")
        assert manifest is not None
        result = shop.store.recall(manifest.key)
        assert result is not None
        peaks.append(result.peak_bytes)
    assert peaks[1] - peaks[0] < 32 << 20, peaks


def test_the_packager_comes_through_the_entry_points() -> None:
    assert load_registry().packagers["MCUbootImage"].extras == ("signing_key",)
