"""Gives a PlatformIO project the builders of phibuild. Made by `phibuild platformio-script`.

In platformio.ini, `extra_scripts = pre:phibuild_pio.py, pre:model.py`: model.py is yours.
"""

import importlib.util
import os
import shlex
import subprocess
from pathlib import Path

from SCons.Script import DefaultEnvironment


def site_folder() -> Path:
    """Where the SCons tool is: in this Python's phibuild, else where the command says."""
    spec = importlib.util.find_spec("phibuild")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "guests" / "scons"
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
