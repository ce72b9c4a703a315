"""Which paths SCons, the store and other tools can all use, and what may be an input."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from phibuild.foreign import kind_of_file
from phibuild.model.errors import RecipeError
from phibuild.model.manifest import SUFFIX

_LONGEST_NAME = 255 - len(SUFFIX)
_LONGEST = 4095 - len(SUFFIX)


def check_path(path: str) -> None:
    """RecipeError PHI205 for a path that is not Unicode text, or is too long."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise _unusable(path, "is not UTF-8") from None
    if b"\0" in encoded:
        raise _unusable(path, "has a zero byte in it")
    is_long = len(encoded) > _LONGEST_NAME  # of a short path no name is long
    if is_long and (len(encoded) > _LONGEST or _longest_name(encoded) > _LONGEST_NAME):
        raise _unusable(path, f"is too long: a name has at most {_LONGEST_NAME} bytes")


def _longest_name(path: bytes) -> int:
    return max(map(len, path.split(b"/")))


def check_input(path: Path) -> bool:
    """Whether the path is a folder; RecipeError PHI205 for a pipe, a socket or a device, whose
    content never ends or is never the same."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - null builds come here
    except OSError:
        return False  # SCons names what is missing
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return stat.S_ISDIR(mode)
    raise RecipeError(
        f"{path} is {kind_of_file(mode)}, and an input is a file or a folder",
        hint="write what it holds to a file, and name that",
        code="PHI205",
    )


def check_size(path: Path, role: str, *, most: int) -> None:
    """RecipeError PHI205 for a file that is too large for its role."""
    try:
        size = os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return
    if size > most:
        raise RecipeError(
            f"{path} has {size:,} bytes, and a file for {role} has at most {most:,}",
            hint=f"pass a smaller file for {role}",
            code="PHI205",
        )


def _unusable(path: str, problem: str) -> RecipeError:
    shown = path if len(path) <= 200 else f"{path[:200]}..."
    return RecipeError(f"the path {shown!r} {problem}", hint="name it differently", code="PHI205")
