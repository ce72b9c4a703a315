"""What tests use of the machine beside Python, and whether it is there: `machine.toml`, read.

Standard library only: `run` imports this before there is an environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OPT_OUT = "PHIBUILD_TEST_INSTALL"
"""Set to 0, `./run pytest` installs nothing."""


@dataclass(frozen=True)
class Need:
    """Packages that come together, and how they are found. `packages` are Debian's."""

    packages: tuple[str, ...]
    why: str
    tests: tuple[str, ...]
    toolchain: bool = False
    programs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    source: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """What a test requests it by."""
        return (*self.programs, *self.libraries)

    def lacks(self, name: str) -> bool:
        """Whether this name cannot be used on this machine."""
        return (name in self.programs and shutil.which(name) is None) or not _compiles(self)

    @property
    def is_missing(self) -> bool:
        """Whether any of its names cannot be used on this machine."""
        return any(self.lacks(name) for name in self.names)


@cache
def needs() -> tuple[Need, ...]:
    """The table, in its order."""
    table = tomllib.loads((HERE / "machine.toml").read_text("utf-8"))["need"]
    return tuple(map(_need, table))


def need_of(name: str) -> Need:
    """The need that a program or library belongs to; KeyError if it is not in the table."""
    matches = [need for need in needs() if name in need.names]
    if not matches:
        raise KeyError(f"tests/machine.toml does not list {name}")
    return matches[0]


def cure(packages: tuple[str, ...]) -> str:
    """The command that installs these packages, or their names on a system without apt-get."""
    if not packages:
        return "this test needs Debian or a system derived from it"
    if shutil.which("apt-get") is None:
        return "install what Debian packages as " + " ".join(map(package_here, packages))
    command = "apt-get install" if os.geteuid() == 0 else "sudo apt-get install"
    return " ".join([command, *map(package_here, packages)])


@cache
def package_here(names: str) -> str:
    """The first of several names of a package that apt knows, else the last."""
    *others, last = names.split("|")
    return next((name for name in others if is_known(name)), last)


def is_known(package: str) -> bool:
    """Whether apt knows a package of this name; it does not before its first update."""
    try:
        shown = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
    except OSError:
        return False
    return shown.returncode == 0


def _need(entry: dict[str, Any]) -> Need:
    lists = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
    return Need(**{**entry, **lists})


@cache
def _compiles(need: Need) -> bool:
    """Whether the need's source compiles and links; a need without one has nothing to compile."""
    if not need.command:
        return True
    compiler, *flags = need.command
    with tempfile.TemporaryDirectory() as folder:
        command = [compiler, "-x", "c", "-", "-x", "none", *flags, "-o", f"{folder}/out"]
        try:
            done = subprocess.run(
                command, input=need.source.encode(), capture_output=True, timeout=60, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0
