"""Gives a PlatformIO project the builders of phibuild. Written by `phibuild platformio-script`.

In platformio.ini, `extra_scripts = pre:phibuild_pio.py, pre:model.py`: model.py is yours.
"""

import importlib.util
import os
import shlex
import subprocess
from pathlib import Path

from SCons.Script import DefaultEnvironment


def site_folder() -> Path:
    """The folder of the SCons tool: in this Python's phibuild, else as the command prints it."""
    package = importlib.util.find_spec("phibuild")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "guests" / "scons"
    command = shlex.split(os.environ.get("PHIBUILD", "phibuild"))
    try:
        return Path(subprocess.check_output([*command, "scons-site"], text=True).strip())
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"[PHI504] {' '.join(command)} does not work: {error}\n"
            "  hint: put phibuild on PATH, or its path into the environment variable PHIBUILD"
        ) from None


# The environment of the firmware is, in PlatformIO, the default one.
DefaultEnvironment().Tool("phibuild", toolpath=[str(site_folder() / "site_tools")])
