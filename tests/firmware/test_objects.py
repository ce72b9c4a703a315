"""Embedded models as objects of a compiler: they link, and hold no path of the machine."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.firmware.tools import needed_tool

pytestmark = pytest.mark.toolchain

PAYLOAD = random.Random(3).randbytes(50_000)
RISCV = ("-march=rv64imac_zicsr", "-mabi=lp64", "-mcmodel=medany")
TARGETS = {
    "arm-none-eabi-gcc": ("-mcpu=cortex-m3", "-mthumb"),
    "aarch64-linux-gnu-gcc": ("-mgeneral-regs-only",),
    "riscv64-unknown-elf-gcc": RISCV,
    "gcc": (),
    "clang": (),
}
MAIN = """\
#include "phi_model.h"
#include "phi_model_data.h"
int memcmp(const void *a, const void *b, size_t n) { (void)a, (void)b, (void)n; return 0; }
void *memcpy(void *to, const void *from, size_t n) { (void)from, (void)n; return to; }
void _start(void)
{
    static const struct phi_model_expected EXPECTED = {
        PHI_MODEL_DESCRIPTOR_SHA256, PHI_MODEL_TOKENIZER_DIGEST, PHI_MODEL_CHAT_TEMPLATE_DIGEST};
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    struct phi_model model;
    phi_model_check(phi_model_image, PHI_MODEL_IMAGE_SIZE, &EXPECTED, &sha, &model);
    for (;;) { }
}
"""


def embedded(folder: Path, compiler: str, flags: tuple[str, ...]) -> Project:
    """A project with the objects, built with a store of its own."""
    needed_tool(compiler)
    project = Project(folder, {"PHIBUILD_STORE": str(folder / "store")})
    project.write("main.c", MAIN)
    (folder / "model.bin").write_bytes(PAYLOAD)
    fields = f'slot_size="1 MiB", compiler="{compiler}", compiler_flags={flags!r}'
    project.sconstruct(f'env.EmbeddedModel("build/phi", "model.bin", {fields})\n')
    ran = project.scons()
    assert ran.status == 0, ran.text
    return project


@pytest.mark.parametrize("compiler", TARGETS)
def test_objects_link_and_are_reproducible(tmp_path: Path, compiler: str) -> None:
    flags = TARGETS[compiler]
    project = embedded(tmp_path / "one", compiler, flags)
    phi = project.folder / "build" / "phi"
    subprocess.run(
        [
            *(compiler, *flags, "-ffreestanding", "-fno-builtin", "-nostdlib", "-static"),
            *("-Ibuild/phi", "main.c", phi / "phi_model.o", phi / "phi_model_data.o"),
            *(phi / "phi_model_data.ld", "-lgcc", "-o", "firmware"),
        ],
        cwd=project.folder,
        check=True,
    )
    assert PAYLOAD in (project.folder / "firmware").read_bytes()
    assert project.scons().text == "scons: `.' is up to date.\n"
    with_symbols = (*flags, "-g")
    first = embedded(tmp_path / "two", compiler, with_symbols).folder / "build" / "phi"
    second = embedded(tmp_path / "in" / "another", compiler, with_symbols).folder / "build" / "phi"
    for name in ("phi_model.o", "phi_model_data.o"):
        content = (first / name).read_bytes()
        assert content == (second / name).read_bytes()
        assert str(tmp_path).encode() not in content


def test_the_compiler_is_a_fact(tmp_path: Path) -> None:
    project = embedded(tmp_path / "one", "gcc", ())
    sconstruct = project.folder / "SConstruct"
    sconstruct.write_text(sconstruct.read_text().replace('"gcc"', '"clang"'))
    needed_tool("clang")
    assert "program.clang is new" in project.phibuild("explain", "build/phi").text
    assert project.scons().actions == ["firmware.objects"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('compiler="/opt/bin/gcc"', "put its folder into PATH"),
        ('compiler="no-such-gcc"', "[PHI606] no-such-gcc was not found on PATH"),
        ('compiler_flags=["-O2"]', "compiler_flags requires compiler"),
        ('compiler="gcc", compiler_flags=["-mno-such"]', "cannot compile phi_model_data.S"),
    ],
)
def test_a_failing_compiler_is_one_error(project: Project, fields: str, message: str) -> None:
    project.write("in.bin", "model")
    project.sconstruct(f'env.EmbeddedModel("build/phi", "in.bin", {fields})\n')
    ran = project.scons()
    assert ran.status == 2
    assert message in ran.text
    assert "Traceback" not in ran.text
