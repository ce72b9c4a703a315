"""The example of a Linux device: booted in QEMU, it checks its model, maps it and generates."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.firmware.tools import needed_tool

pytestmark = pytest.mark.toolchain

EXAMPLE = Path(__file__).parents[2] / "examples" / "linux_device"
TOOLS = ("aarch64-linux-gnu-g++", "qemu-system-aarch64", "mkfs.erofs", "cpio", "apt-get")
PAYLOAD, DESCRIPTOR = 4096 + 500_000, 145


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the example, built once for all tests here."""
    for name in TOOLS:
        needed_tool(name)
    project = Project(tmp_path_factory.mktemp("device") / "example")
    shutil.copytree(EXAMPLE, project.folder, ignore=shutil.ignore_patterns("build", ".scons*"))
    ran = project.scons()
    assert ran.status == 0, ran.text
    return project


def booted(project: Project, *arguments: Path | str) -> tuple[int, list[str]]:
    """Exit status and printed lines of the device in QEMU."""
    done = subprocess.run(
        [project.folder / "run_device", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    return done.returncode, done.stdout.strip().splitlines()


def test_the_device_answers_as_this_machine_does(device: Project) -> None:
    status, (verdict, mapped, *answer) = booted(device)
    assert (status, verdict) == (0, "PASS tiny")
    assert mapped.startswith("CPU_Mapped model buffer size")
    assert "\n".join(answer) == (device.folder / "build" / "answer.txt").read_text().strip()
    assert answer


@pytest.mark.parametrize(
    ("at", "reason"),
    [(PAYLOAD, "the payload was changed"), (DESCRIPTOR, "the descriptor was changed")],
)
def test_one_bit_is_refused(device: Project, tmp_path: Path, at: int, reason: str) -> None:
    image = bytearray((device.folder / "build" / "model.img").read_bytes())
    image[at] ^= 4
    flipped = tmp_path / "flipped.img"
    flipped.write_bytes(image)
    assert booted(device, flipped) == (1, [f"FAIL {reason}"])


def test_the_partition_of_another_model_is_refused(device: Project, tmp_path: Path) -> None:
    build = device.folder / "build"
    old = tmp_path / "old.img"
    shutil.copyfile(build / "model.img", old)
    try:
        ran = device.scons("seed=2")
        assert ran.status == 0, ran.text
        assert "gguf.compile_llama_cpp" not in ran.text
        assert booted(device, old) == (1, ["FAIL the firmware is for another image"])
        assert booted(device)[0] == 0
    finally:
        assert device.scons("seed=1").status == 0


def test_nothing_is_left_to_do(device: Project) -> None:
    assert device.scons().text == "scons: `.' is up to date.\n"


def test_other_flags_are_another_runtime_and_the_same_model(device: Project) -> None:
    script = device.folder / "SConstruct"
    text = script.read_text()
    flags = 'triplet="aarch64-linux-gnu", flags=["-DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod"]'
    script.write_text(text.replace('triplet="aarch64-linux-gnu"', flags))
    try:
        ran = device.scons("-n")
    finally:
        script.write_text(text)
    assert ran.status == 0, ran.text
    assert [line.split()[1] for line in ran.text.splitlines() if line.startswith("make ")] == [
        "build/llama.cpp"
    ]


def test_the_program_needs_nothing_of_the_device_and_holds_no_path_of_this_machine(
    device: Project,
) -> None:
    program = (device.folder / "build" / "llama.cpp" / "llama-completion").read_bytes()
    assert program[:4] == b"\x7fELF"
    assert program[18] == 183  # e_machine: AArch64
    assert b"/lib/ld-linux" not in program
    for place in (device.folder, Path.home(), EXAMPLE.parents[1]):
        assert f"{place}/".encode() not in program
