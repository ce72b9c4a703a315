"""`phibuild plugins`: which plugins there are and what they offer."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import click

from phibuild.cli.console import say
from phibuild.model.errors import RecipeError
from phibuild.offers import Backend, Packager, Runtime
from phibuild.registry import DISABLED, Registry, disabled_plugins, load_registry


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="For other builds: the builders, as JSON.")
def command(as_json: bool) -> None:
    """List the installed plugins and their offers."""
    registry = load_registry()
    if as_json:
        click.echo(json.dumps(_for_other_builds(registry)))
        return
    for plugin in registry.plugins:
        state = f"  skipped: {plugin.problem}" if plugin.problem else ""
        if plugin.is_disabled:
            state = f"  disabled by {DISABLED}"
        say(f"{plugin.name:<12} {plugin.distribution} {plugin.version}{state}")
    for name in sorted(disabled_plugins() - {plugin.name for plugin in registry.plugins}):
        say(f"{name:<12} named in {DISABLED}, but not installed")
    for offer in registry.builders:
        say(f"  builder    env.{offer.builder}  ({offer.format})")
    for name in registry.evaluators:
        say(f"  evaluator  {name}")
    for name in (*registry.pythons, *registry.natives):
        say(f"  toolchain  {name}")
    for name in registry.commands:
        say(f"  command    phibuild {name}")


def _for_other_builds(registry: Registry) -> dict[str, Any]:
    """For each builder the fields that are paths, and the files in its artifact that other rules
    may name (of its default recipe); and the folders that change when plugins are installed."""
    builders: dict[str, dict[str, list[str]]] = {
        "Generate": {"paths": [], "nodes": []},
        "Artifact": {"paths": ["worker"], "nodes": []},
    }
    for offer in registry.builders:
        paths = offer.extras if isinstance(offer, Backend | Packager) else ()
        builders[offer.builder] = {"paths": list(paths), "nodes": list(_nodes(offer))}
    folders = [folder for folder in sys.path if Path(folder).is_dir()]
    return {
        "builders": builders,
        "places": {folder: Path(folder).stat().st_mtime_ns for folder in folders},
    }


def _nodes(offer: Backend | Packager | Runtime) -> tuple[str, ...]:
    if isinstance(offer, Packager):
        with contextlib.suppress(RecipeError):  # there may be no default recipe
            return offer.nodes(offer.recipe())
    return ()
