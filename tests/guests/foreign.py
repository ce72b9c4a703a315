"""Third-party Python environments from PyPI, built once in a session: pinned, without phibuild."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OLDEST_SCONS = "scons==4.0.1"
NEWEST_SCONS = "scons==4.11.1"
PHIBUILD = f"{sys.executable} -P -m phibuild.cli"
"""The value of the variable PHIBUILD for builds whose Python does not have phibuild."""


def environment_with(folder: Path, *packages: str) -> Path:
    """The interpreter of a virtual environment with these packages."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--python", sys.executable, folder], check=True)
        install = [*uv, "pip", "install", "-q", "--python", python, *packages]
        subprocess.run(install, check=True)
    return python


def packages_of(python: Path) -> Path:
    """Its site-packages."""
    return next(python.parent.parent.glob("lib/python*/site-packages"))
