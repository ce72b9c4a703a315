"""The `phibuild` command: where it is, and what it offers."""

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
    """How phibuild is started: PHIBUILD, else the environment that this file is installed in, else
    PATH."""
    named = os.environ.get("PHIBUILD")
    if named:
        return shlex.split(named)
    root, is_installed, _ = str(_HERE).partition(f"{os.sep}lib{os.sep}")
    beside = f"{root}/bin/phibuild"
    found = beside if is_installed and os.access(beside, os.X_OK) else shutil.which("phibuild")
    if found is None:
        raise SCons.Errors.StopError(
            f"[PHI504] this Python ({sys.executable}) cannot import phibuild, and there is no"
            " command phibuild\n"
            "  hint: put it on PATH, or its path into the environment variable PHIBUILD"
        )
    return [found]


def ask_for_offers(command: list[str]) -> dict[str, Any]:
    """The builders that `phibuild plugins --json` tells, and what they depend on."""
    asked = [*command, "plugins", "--json"]
    try:
        text = subprocess.check_output(asked, env=environment(), cwd=str(_HERE))
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
    asked = [*command, "build", "-C", str(folder), *arguments]
    return subprocess.call(asked, env=environment())


def environment() -> dict[str, str]:
    """Ours, without what was set for this Python and this SCons."""
    foreign = ("PYTHONPATH", "PYTHONHOME", "SCONSFLAGS")
    return {name: value for name, value in os.environ.items() if name not in foreign}


def _time_of(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0
