"""`phibuild platformio-script`: the script that adds the builders to a PlatformIO project."""

from __future__ import annotations

from pathlib import Path

import click

import phibuild

SCRIPT = Path(phibuild.__file__).parent / "guests" / "platformio" / "phibuild_pio.py"


@click.command("platformio-script")
def command() -> None:
    """Print a script for `extra_scripts` of platformio.ini; keep it in your project."""
    click.echo(SCRIPT.read_text("utf-8"), nl=False)
