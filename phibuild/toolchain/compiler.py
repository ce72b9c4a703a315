"""The C and C++ compilers: which ones are used, and the text that identifies them in keys."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import cache

from phibuild.model.errors import ToolchainError
from phibuild.process import capture


@dataclass(frozen=True, slots=True)
class Compiler:
    """Executables of the compilers, and the first line of their version with the target."""

    cc: str
    cxx: str
    identity: str


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
    version = capture([cxx, "--version"]).splitlines()[0]
    return Compiler(cc, cxx, f"{version}; {capture([cxx, '-dumpmachine']).strip()}")


def _first(*candidates: str | None) -> str | None:
    return next((path for name in candidates if name and (path := shutil.which(name))), None)
