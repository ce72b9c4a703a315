"""The command group: built-in commands, and those of plugins, imported when they are called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from phibuild import __version__
from phibuild.registry import load_registry

_BUILT_IN = {
    "build": "phibuild.cli.build",
    "cmake-dir": "phibuild.cli.cmake_dir",
    "doctor": "phibuild.cli.doctor",
    "explain": "phibuild.cli.explain",
    "graph": "phibuild.cli.graph",
    "init": "phibuild.cli.init",
    "plan": "phibuild.cli.plan",
    "platformio-script": "phibuild.cli.platformio_script",
    "plugins": "phibuild.cli.plugins",
    "scons-site": "phibuild.cli.scons_site",
    "show": "phibuild.cli.show",
    "store": "phibuild.cli.store",
    "toolchain": "phibuild.cli.toolchain",
}


class _Commands(click.Group):
    """Each built-in command lives in a module of its name, as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_BUILT_IN, *load_registry().commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:
        if cmd_name in _BUILT_IN:
            return import_module(_BUILT_IN[cmd_name]).command
        offered = load_registry().commands.get(cmd_name)
        return offered.load() if offered else None


@click.command(cls=_Commands)
@click.version_option(__version__)
def cli() -> None:
    """Quantized Phi models as build targets."""
