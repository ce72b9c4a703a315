"""The `phibuild` command: its path, and its builders."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import SCons.Errors

_HERE = Path(__file__).absolute().parent
_DISABLED = "PHIBUILD_DISABLED_PLUGINS"


def find_command() -> list[str]:
    """The command that starts phibuild: PHIBUILD, else the one installed beside this file, else the
    one on PATH."""
    named = os.environ.get("PHIBUILD")
    if named:
        return shlex.split(named)
    root, is_installed, _ = str(_HERE).partition(f"{os.sep}lib{os.sep}")
    beside = f"{root}/bin/phibuild"
    path = beside if is_installed and os.access(beside, os.X_OK) else shutil.which("phibuild")
    if path is None:
        raise SCons.Errors.StopError(
            f"[PHI504] this Python ({sys.executable}) cannot import phibuild, and the"
            " command phibuild was not found on PATH\n"
            "  hint: put it on PATH, or its path into the environment variable PHIBUILD"
        )
    return [path]


def ask_for_offers(command: list[str]) -> dict[str, Any]:
    """The builders that `phibuild plugins --json` lists, and the files that they depend on."""
    try:
        text = subprocess.check_output(
            [*command, "plugins", "--json"], env=environment(), cwd=str(_HERE)
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SCons.Errors.StopError(
            f"[PHI504] {' '.join(command)} does not work: {error}\n"
            "  hint: the environment variable PHIBUILD may name another"
        ) from None
    return {"command": command, _DISABLED: os.environ.get(_DISABLED), **json.loads(text)}


def is_current(offers: Any, command: list[str]) -> bool:
    """Whether the command would answer the same: no plugin was installed or disabled since."""
    return (
        bool(offers)
        and offers["command"] == command
        and offers.get(_DISABLED) == os.environ.get(_DISABLED)
        and all(_time_of(Path(place)) == seen for place, seen in offers["places"].items())
    )


def build(command: list[str], folder: Path, arguments: Iterable[str]) -> int:
    """Run `phibuild build` on this terminal; its exit status."""
    sys.stdout.flush()
    return subprocess.call([*command, "build", "-C", str(folder), *arguments], env=environment())


def environment() -> dict[str, str]:
    """Our environment without the variables for this Python and this SCons."""
    foreign = ("PYTHONPATH", "PYTHONHOME", "SCONSFLAGS")
    return {name: value for name, value in os.environ.items() if name not in foreign}


def _time_of(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0
