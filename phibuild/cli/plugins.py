"""`phibuild plugins`: which plugins there are and what they offer."""

from __future__ import annotations

import click

from phibuild.registry import load_registry


@click.command("plugins")
def command() -> None:
    """List the installed plugins and their offers."""
    registry = load_registry()
    for plugin in registry.plugins:
        state = f"  skipped: {plugin.problem}" if plugin.problem else ""
        click.echo(f"{plugin.name:<12} {plugin.distribution} {plugin.version}{state}")
    for offer in registry.builders:
        click.echo(f"  builder    env.{offer.builder}  ({offer.format})")
    for name in registry.evaluators:
        click.echo(f"  evaluator  {name}")
    for name in (*registry.pythons, *registry.natives):
        click.echo(f"  toolchain  {name}")
    for name in registry.commands:
        click.echo(f"  command    phibuild {name}")
