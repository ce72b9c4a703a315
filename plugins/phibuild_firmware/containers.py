"""The programs that pack containers. Their bytes are their identity in keys, which a null build
knows by the files' stat and without starting them."""

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from phibuild.api import FileInput, ToolchainError

_PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where file system tools are, beside the path of users who are not root."""


class Program(NamedTuple):
    """A program, and the package of Debian that it is in."""

    name: str
    package: str


_PROGRAMS = {
    "erofs": Program("mkfs.erofs", "erofs-utils"),
    "squashfs": Program("mksquashfs", "squashfs-tools"),
}


def program_of(container: str) -> FileInput | None:
    """What packs such a container, as an input of the action; None for what Python packs itself.
    ToolchainError PHI606 if it is not installed."""
    needed = _PROGRAMS.get(container)
    if needed is None:
        return None
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_PLACES))
    found = shutil.which(needed.name, path=path)
    if found is None:
        raise ToolchainError(
            f"{needed.name} was not found, which container={container!r} needs",
            hint=f"install it (Debian: apt install {needed.package})",
            code="PHI606",
        )
    return FileInput(os.path.realpath(found))
