"""`phibuild toolchain`: list, install, verify and remove what does the work."""

from __future__ import annotations

import click

from phibuild.cli.console import say, telling_workshop
from phibuild.engine.building.realize import installed_tool, realize_tool
from phibuild.engine.upkeep import toolchains
from phibuild.engine.upkeep.removal import remove_tool
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
        state = "installed" if shop.interpreters.is_installed(python) else "-"
        say(f"{name:<12} python  {state:<10} {shop.interpreters.path_of(python)}")
    for name in shop.registry.natives:
        prefix = installed_tool(shop, name)
        say(f"{name:<12} native  {'installed' if prefix.is_dir() else '-':<10} {prefix}")


@command.command("install")
@click.argument("names", nargs=-1)
def install(names: tuple[str, ...]) -> None:
    """Install the toolchains NAMES, or all. Needs the network; builds do not, afterwards."""
    shop = telling_workshop()
    for name in names or (*shop.registry.natives, *shop.registry.pythons):
        if name in shop.registry.natives:
            realize_tool(shop, name)
        else:
            shop.python_of(shop.python_toolchain(name).name)
        say(f"{name} is installed")


@command.command("remove")
@click.argument("names", nargs=-1, required=True)
def remove(names: tuple[str, ...]) -> None:
    """Remove the toolchains NAMES; the next build that needs one installs it again."""
    shop = Workshop.open()
    for name in names:
        is_native = name in shop.registry.natives
        folder = (
            installed_tool(shop, name)
            if is_native
            else shop.interpreters.path_of(shop.python_toolchain(name))
        )
        with shop.store.locked(f"toolchain-{folder.name}"):  # somebody may be installing it
            removal = (
                remove_tool(shop, name)
                if is_native
                else shop.interpreters.remove(shop.python_toolchain(name))
            )
        say(f"{name} {removal.value}")
        if removal not in (Removal.REMOVED, Removal.ABSENT):
            say(f"  {folder}")


@command.command("verify")
@click.argument("names", nargs=-1)
@click.option("--repair", is_flag=True, help="Install damaged toolchains again.")
def verify(names: tuple[str, ...], repair: bool) -> None:
    """Read the files of the toolchains NAMES, or of all that are installed, and compare them with
    those that were installed; exit status 1 if one is damaged."""
    shop = telling_workshop()
    damaged = 0
    for name in names or (*shop.registry.natives, *shop.registry.pythons):
        if not toolchains.is_installed(shop, name):
            say(f"{name} is not installed")
            continue
        found = toolchains.differences(shop, name, reads=True)
        if found is None:
            say(f"{name} has no list of its files: an earlier phibuild installed it")
        elif not found:
            say(f"{name} is as it was installed")
            continue
        else:
            say(f"{name} is damaged")
            for one in found[:_SHOWN]:
                say(f"  {one}")
            if len(found) > _SHOWN:
                say(f"  and {len(found) - _SHOWN} more")
        if repair:
            toolchains.repair(shop, name, found or [])
            say(f"{name} is installed again")
        else:
            damaged += found is not None
    raise SystemExit(int(damaged > 0))
