"""The C and C++ compilers, and the arguments that identify them in keys."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

from phibuild.model.action import Program
from phibuild.model.errors import ToolchainError

_HINT = "install one (Debian: apt install g++; macOS: xcode-select --install), or set CC and CXX"


class Compiler(NamedTuple):
    """The compilers of C and of C++."""

    cc: Program
    cxx: Program


class CrossCompiler(NamedTuple):
    """Compilers for another machine, and its C library for static programs."""

    compiler: Compiler
    libc: Path


def compiler_program(name: str, hint: str) -> Program:
    """A compiler by its name on PATH; its version and its target identify it."""
    return Program(name, ("-v",), "^Target: |^gcc version |clang version ", hint)


def find_compiler() -> Compiler:
    """The compilers that CC and CXX name, else the system's; ToolchainError PHI601 if one was not
    found."""
    return Compiler(_chosen("CC", "cc", "gcc", "clang"), _chosen("CXX", "c++", "g++", "clang++"))


@cache
def find_cross_compiler(triplet: str) -> CrossCompiler:
    """GNU's compilers for a machine such as aarch64-linux-gnu; ToolchainError PHI601 if they are
    not installed."""
    from phibuild.process.answers import capture

    hint = f"install them (Debian: apt install g++-{triplet.replace('_', '-')})"
    cc, cxx = shutil.which(f"{triplet}-gcc"), shutil.which(f"{triplet}-g++")
    # Without a folder if there is none.
    libc = Path(capture([cxx, "-print-file-name=libc.a"]).strip()) if cxx else Path()
    if cc is None or cxx is None or not libc.is_absolute():
        raise ToolchainError(
            f"{triplet}-gcc, {triplet}-g++ or their static C library is not installed",
            hint=hint,
            code="PHI601",
        )
    cc_name, cxx_name = Path(cc).name, Path(cxx).name
    compiler = Compiler(compiler_program(cc_name, hint), compiler_program(cxx_name, hint))
    return CrossCompiler(compiler, libc.resolve())


def _chosen(variable: str, *usual: str) -> Program:
    named = os.environ.get(variable, "").strip()
    path = next(
        (place for name in ([named] if named else usual) if (place := shutil.which(name))), ""
    )
    if not path:
        raise ToolchainError(
            f"{variable}={named} was not found on PATH"
            if named
            else "no C++ compiler was found on PATH",
            hint="set CC and CXX to a compiler's name or path, without options" if named else _HINT,
            code="PHI601",
        )
    name = Path(path).name
    if shutil.which(name) != path:  # its folder must not be in a key
        raise ToolchainError(
            f"the compiler {path} is not the {name} on PATH",
            hint=f"put {Path(path).parent} first into PATH",
            code="PHI601",
        )
    return compiler_program(name, _HINT)
