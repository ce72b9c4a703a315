"""`phibuild cmake-dir`: where CMake finds the package Phibuild."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("cmake-dir")
def command() -> None:
    """Print the folder for CMake's Phibuild_DIR, which `find_package(Phibuild)` looks into."""
    click.echo(Path(__file__).parent.parent / "guests" / "cmake")
