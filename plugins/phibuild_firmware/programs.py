"""The machine's programs that build file systems and objects."""

from __future__ import annotations

from phibuild.api import Program, compiler_program

FILE_SYSTEMS = {
    "erofs": Program(
        "mkfs.erofs", ("-V",), r"^mkfs\.erofs .*\d", "install it (Debian: apt install erofs-utils)"
    ),
    "squashfs": Program(
        "mksquashfs",
        ("-version",),
        "^mksquashfs version",
        "install it (Debian: apt install squashfs-tools)",
    ),
}


def compiler_programs(name: str) -> tuple[Program, ...]:
    """A compiler, and the assembler that gcc starts; clang has its own."""
    hint = (
        "install it (Debian: apt install gcc-arm-none-eabi, gcc-aarch64-linux-gnu,"
        " gcc-riscv64-unknown-elf or clang), or put its folder into PATH"
    )
    compiler = compiler_program(name, hint)
    if not name.endswith("gcc"):
        return (compiler,)
    return (compiler, Program(f"{name[:-3]}as", ("--version",), "assembler", hint))
