"""The example of a firmware, compiled for three boards and booted in QEMU."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.firmware.tools import needed_tool

pytestmark = pytest.mark.toolchain

EXAMPLE = Path(__file__).parents[2] / "examples" / "firmware"
TOOLS = {
    "aarch64-virt": ("aarch64-linux-gnu-gcc", "qemu-system-aarch64"),
    "riscv64-virt": ("riscv64-unknown-elf-gcc", "qemu-system-riscv64"),
    "cortex-m3-mps2": ("arm-none-eabi-gcc", "qemu-system-arm"),
}
APART = ("aarch64-virt", "riscv64-virt")
PAYLOAD, DESCRIPTOR, TOKENIZER = 4096 + 100_000, 145, 80


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the example, built once for all tests here."""
    for names in TOOLS.values():
        for name in names:
            needed_tool(name)
    project = Project(tmp_path_factory.mktemp("firmware") / "example")
    shutil.copytree(EXAMPLE, project.folder, ignore=shutil.ignore_patterns("build", ".scons*"))
    ran = project.scons()
    assert ran.status == 0, ran.text
    return project


def booted(project: Project, board: str, image: Path | None = None) -> tuple[int, str]:
    """Exit status and output of a board in QEMU."""
    command = [project.folder / "run_board", board, *([image] if image else [])]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=120
    )
    return done.returncode, done.stdout.strip()


def flipped(path: Path, to: Path, at: int) -> Path:
    """A copy with one bit of a model image flipped, wherever in the file the image begins."""
    content = bytearray(path.read_bytes())
    content[content.index(b"PHIMODEL\1\0\0\0") + at] ^= 4
    to.write_bytes(content)
    return to


@pytest.mark.parametrize("board", TOOLS)
def test_a_board_accepts_its_model(firmware: Project, board: str) -> None:
    assert booted(firmware, board) == (0, "PASS tiny")


@pytest.mark.parametrize("board", APART)
@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (PAYLOAD, "the payload was changed"),
        (DESCRIPTOR, "the descriptor was changed"),
        (TOKENIZER, "the descriptor was changed"),
    ],
)
def test_one_bit_is_noticed(
    firmware: Project, tmp_path: Path, board: str, at: int, reason: str
) -> None:
    image = flipped(firmware.folder / "build" / "model.img", tmp_path / "flipped.img", at)
    assert booted(firmware, board, image) == (1, f"FAIL {reason}")


@pytest.mark.parametrize("at", [512 + 100_000, DESCRIPTOR, TOKENIZER])
def test_one_bit_is_noticed_in_an_embedded_model(firmware: Project, at: int) -> None:
    elf = firmware.folder / "build" / "cortex-m3-mps2.elf"
    intact = elf.read_bytes()
    try:
        flipped(elf, elf, at)
        status, text = booted(firmware, "cortex-m3-mps2")
    finally:
        elf.write_bytes(intact)
    assert (status, text.split()[0]) == (1, "FAIL")


def test_a_firmware_of_another_model_refuses(firmware: Project, tmp_path: Path) -> None:
    """Stale both ways: new firmware with the old image, old firmware with the new image."""
    build = firmware.folder / "build"
    old_image, old_firmware = tmp_path / "old.img", tmp_path / "old.elf"
    shutil.copyfile(build / "model.img", old_image)
    shutil.copyfile(build / "aarch64-virt.elf", old_firmware)
    stale = (1, "FAIL the firmware is for another image")
    try:
        ran = firmware.scons("seed=2")
        assert ran.status == 0, ran.text
        assert all(booted(firmware, board) == (0, "PASS tiny") for board in TOOLS)
        assert booted(firmware, "aarch64-virt", old_image) == stale
        shutil.copyfile(old_firmware, build / "aarch64-virt.elf")
        assert booted(firmware, "aarch64-virt") == stale
    finally:
        assert firmware.scons("seed=1").status == 0


def test_an_edit_of_the_code_leaves_the_model_alone(firmware: Project) -> None:
    assert firmware.scons().text == "scons: `.' is up to date.\n"
    main = firmware.folder / "main.c"
    main.write_text(main.read_text().replace('"FAIL "', '"NO "'))
    ran = firmware.scons()
    assert ran.status == 0
    assert ran.actions == []
    assert ran.names("recalled") == []
    assert "main.o" in ran.text
    main.write_text((EXAMPLE / "main.c").read_text())
    assert firmware.scons().status == 0


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", ()),
        ("clang", ()),
        ("aarch64-linux-gnu-gcc", ()),
        ("riscv64-unknown-elf-gcc", ("-march=rv64imac_zicsr", "-mabi=lp64", "-mcmodel=medany")),
        ("arm-none-eabi-gcc", ("-mcpu=cortex-m3", "-mthumb")),
    ],
)
def test_the_verifier_compiles_without_a_warning(
    tmp_path: Path, compiler: str, flags: tuple[str, ...]
) -> None:
    source = EXAMPLE.parents[1] / "plugins" / "phibuild_firmware" / "device" / "phi_model.c"
    strict = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion")
    for level in ("-O0", "-Os", "-O3"):
        subprocess.run(
            [needed_tool(compiler), *strict, *flags, level, "-ffreestanding", "-c", source],
            cwd=tmp_path,
            check=True,
        )
