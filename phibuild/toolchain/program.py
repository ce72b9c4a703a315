"""Programs of the machine that workers start: their paths, and the text that identifies them in
keys."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from phibuild.model.action import Program
from phibuild.model.errors import ToolchainError


class FoundProgram(NamedTuple):
    """A program of this machine, and the lines with its version."""

    path: Path
    identity: str


_LAUNCHERS = frozenset({"ccache", "sccache", "distcc", "icecc", "colorgcc"})


def path_of(program: Program) -> Path:
    """Its path; ToolchainError PHI606 if it is not there."""
    beside = Path(sys.executable).parent if program.with_python else None
    path = (beside and shutil.which(program.name, path=beside)) or shutil.which(program.name)
    if path is None:
        raise ToolchainError(
            f"{program.name} was not found on PATH", hint=program.hint, code="PHI606"
        )
    return Path(path)


def starts_another(path: Path) -> bool:
    """Whether this file starts another program, which may change while the file stays the same: a
    script, ccache and the like, or Apple's xcrun."""
    real = os.path.realpath(path)
    if Path(real).name in _LAUNCHERS or (sys.platform == "darwin" and real.startswith("/usr/bin/")):
        return True
    try:
        with open(real, "rb") as file:  # noqa: PTH123 - null builds come here
            return file.read(2) == b"#!"
    except OSError:
        return True


def ask(program: Program, path: Path) -> str:
    """The lines with its version; ToolchainError PHI606 if it prints none. Some programs print
    their version and fail, so their status does not count."""
    from phibuild.process.answers import capture  # null builds start nothing

    try:
        output = capture([path, *program.ask], may_fail=True)
    except OSError as error:
        output = str(error)
    lines = [line.strip() for line in output.splitlines() if re.search(program.pattern, line)]
    if not lines:
        raise ToolchainError(
            f"{path} {' '.join(program.ask)} does not print its version: {output.strip()[:200]}",
            hint=program.hint,
            code="PHI606",
        )
    return "; ".join(lines)
