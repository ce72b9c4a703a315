"""`phibuild toolchain`: list, install, verify and remove toolchains."""

from __future__ import annotations

import click

from phibuild.cli.console import reporting_workshop, say
from phibuild.engine import upkeep
from phibuild.engine.building.realize import realize_tool
from phibuild.engine.building.tools import differences, installed_tool, is_installed
from phibuild.engine.workshop import Workshop
from phibuild.toolchain.removal import Removal

_SHOWN = 10
"""Files of a damaged toolchain that are listed."""


@click.group("toolchain")
def command() -> None:
    """Toolchains: locked Python environments, and programs built from source."""


@command.command("list")
def list_() -> None:
    """List all toolchains and whether they are installed."""
    shop = Workshop.open()
    for name, python in shop.registry.pythons.items():
        interpreters = shop.toolchains.interpreters
        state = "installed" if interpreters.is_installed(python) else "-"
        say(f"{name:<12} python  {state:<10} {interpreters.path_of(python)}")
    for name in shop.registry.natives:
        prefix = installed_tool(shop, name)
        say(f"{name:<12} native  {'installed' if prefix.is_dir() else '-':<10} {prefix}")


@command.command("install")
@click.argument("names", nargs=-1)
def install(names: tuple[str, ...]) -> None:
    """Install the toolchains NAMES, or all. Needs the network; builds do not, afterwards."""
    shop = reporting_workshop()
    for name in names or (*shop.registry.natives, *shop.registry.pythons):
        if name in shop.registry.natives:
            realize_tool(shop, name)
        else:
            shop.toolchains.python_of(shop.toolchains.python(name).name)
        say(f"{name} is installed")


@command.command("remove")
@click.argument("names", nargs=-1, required=True)
def remove(names: tuple[str, ...]) -> None:
    """Remove the toolchains NAMES; the next build that needs one installs it again."""
    shop = Workshop.open()
    for name in names:
        is_native = name in shop.registry.natives
        interpreters = shop.toolchains.interpreters
        folder = (
            installed_tool(shop, name)
            if is_native
            else interpreters.path_of(shop.toolchains.python(name))
        )
        with shop.store.locked(f"toolchain-{folder.name}"):  # somebody may be installing it
            removal = (
                upkeep.remove_tool(shop, name)
                if is_native
                else interpreters.remove(shop.toolchains.python(name))
            )
        say(f"{name} {removal.value}")
        if removal not in (Removal.REMOVED, Removal.ABSENT):
            say(f"  {folder}")


@command.command("verify")
@click.argument("names", nargs=-1)
@click.option("--repair", is_flag=True, help="Install damaged toolchains again.")
def verify(names: tuple[str, ...], repair: bool) -> None:
    """Read the files of the toolchains NAMES, or of all that are installed, and compare them with
    those that were installed; exit status 1 if a toolchain is damaged."""
    shop = reporting_workshop()
    damaged = 0
    for name in names or (*shop.registry.natives, *shop.registry.pythons):
        if not is_installed(shop, name):
            say(f"{name} is not installed")
            continue
        damage = differences(shop, name, reads=True)
        if damage is None:
            say(f"{name} has no list of its files: an earlier phibuild installed it")
        elif not damage:
            say(f"{name} is intact")
            continue
        else:
            say(f"{name} is damaged")
            for difference in damage[:_SHOWN]:
                say(f"  {difference}")
            if len(damage) > _SHOWN:
                say(f"  and {len(damage) - _SHOWN} more")
        if repair:
            upkeep.repair(shop, name, damage or [])
            say(f"{name} is installed again")
        else:
            damaged += damage is not None
    raise SystemExit(int(damaged > 0))
