"""`phibuild scons-site`: the folder that adds the builders to a third-party SCons build."""

from __future__ import annotations

from pathlib import Path

import click

import phibuild

SITE = Path(phibuild.__file__).parent / "guests" / "scons"


@click.command("scons-site")
def command() -> None:
    """Print the folder for `scons --site-dir=$(phibuild scons-site)`."""
    click.echo(SITE)
