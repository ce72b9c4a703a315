"""The C and C++ compilers: which ones are used, and the text that identifies them in keys."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

from phibuild.model.errors import ToolchainError
from phibuild.process.answers import capture


class Compiler(NamedTuple):
    """Executables of the compilers, and the version and target that the C++ compiler tells."""

    cc: str
    cxx: str
    identity: str


class CrossCompiler(NamedTuple):
    """Compilers for another machine, and the C library that goes into its static programs."""

    compiler: Compiler
    libc: Path


@cache
def find_compiler() -> Compiler:
    """Those named by CC and CXX, else the system's; ToolchainError PHI601 if there is none."""
    cc = _first(os.environ.get("CC"), "cc", "gcc", "clang")
    cxx = _first(os.environ.get("CXX"), "c++", "g++", "clang++")
    if cc is None or cxx is None:
        raise ToolchainError(
            "no C++ compiler was found",
            hint="install one (Debian: apt install g++; macOS: xcode-select --install),"
            " or set CC and CXX",
            code="PHI601",
        )
    return _told(cc, cxx)


@cache
def find_cross_compiler(triplet: str) -> CrossCompiler:
    """GNU's for a machine such as aarch64-linux-gnu; ToolchainError PHI601 if it is not there."""
    cc, cxx = _first(f"{triplet}-gcc"), _first(f"{triplet}-g++")
    # Without a folder if there is none.
    libc = Path(capture([cxx, "-print-file-name=libc.a"]).strip()) if cxx else Path()
    if cc is None or cxx is None or not libc.is_absolute():
        raise ToolchainError(
            f"{triplet}-gcc, {triplet}-g++ or their static C library is not installed",
            hint=f"install them (Debian: apt install g++-{triplet.replace('_', '-')})",
            code="PHI601",
        )
    return CrossCompiler(_told(cc, cxx), libc.resolve())


def _told(cc: str, cxx: str) -> Compiler:
    # One process and not two: each null build asks.
    told = capture([cxx, "-v"]).splitlines()
    wanted = ("Target: ", "gcc version ", "clang version ")
    lines = [line.strip() for line in told if any(word in line for word in wanted)]
    return Compiler(cc, cxx, "; ".join(lines) or " ".join(told))


def _first(*candidates: str | None) -> str | None:
    return next((path for name in candidates if name and (path := shutil.which(name))), None)
