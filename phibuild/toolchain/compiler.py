"""The C and C++ compilers: which ones are used, and the text that identifies them in keys."""

from __future__ import annotations

import os
import shutil
from functools import cache
from typing import NamedTuple

from phibuild.model.errors import ToolchainError
from phibuild.process import capture


class Compiler(NamedTuple):
    """Executables of the compilers, and the version and target that the C++ compiler tells."""

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
    # One process and not two: each null build asks.
    told = capture([cxx, "-v"]).splitlines()
    wanted = ("Target: ", "gcc version ", "clang version ")
    lines = [line.strip() for line in told if any(word in line for word in wanted)]
    return Compiler(cc, cxx, "; ".join(lines) or " ".join(told))


def _first(*candidates: str | None) -> str | None:
    return next((path for name in candidates if name and (path := shutil.which(name))), None)
