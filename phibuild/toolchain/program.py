"""Programs of the machine that workers start: where they are, and the text that identifies them in
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
    """A program of this machine, and what it tells of itself."""

    path: Path
    identity: str


_LAUNCHERS = frozenset({"ccache", "sccache", "distcc", "icecc", "colorgcc"})


def path_of(program: Program) -> Path:
    """Where it lies; ToolchainError PHI606 if it does not."""
    beside = Path(sys.executable).parent if program.with_python else None
    path = (beside and shutil.which(program.name, path=beside)) or shutil.which(program.name)
    if path is None:
        raise ToolchainError(f"there is no {program.name}", hint=program.hint, code="PHI606")
    return Path(path)


def starts_another(path: Path) -> bool:
    """Whether the program that answers is another than this file, which then stays as it is when
    that one changes: behind a script, ccache and its like, or Apple's xcrun."""
    real = os.path.realpath(path)
    if Path(real).name in _LAUNCHERS or (sys.platform == "darwin" and real.startswith("/usr/bin/")):
        return True
    try:
        with open(real, "rb") as file:  # noqa: PTH123 - null builds come along here
            return file.read(2) == b"#!"
    except OSError:
        return True


def ask(program: Program, path: Path) -> str:
    """The lines that tell which one it is; ToolchainError PHI606 if it prints none. Some programs
    print their version and fail, so their status does not count."""
    from phibuild.process.answers import capture  # a build with nothing to do asks nothing

    try:
        told = capture([path, *program.ask], may_fail=True)
    except OSError as error:
        told = str(error)
    lines = [line.strip() for line in told.splitlines() if re.search(program.pattern, line)]
    if not lines:
        raise ToolchainError(
            f"{path} {' '.join(program.ask)} does not tell its version, but: {told.strip()[:200]}",
            hint=program.hint,
            code="PHI606",
        )
    return "; ".join(lines)
