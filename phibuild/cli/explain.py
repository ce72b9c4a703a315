"""`phibuild explain TARGET`: why a target would be made again, fact by fact."""

from __future__ import annotations

from pathlib import Path

import click

from phibuild.cli.console import say
from phibuild.cli.sconstruct import chosen, describe_targets, folder_option


@click.command("explain")
@click.argument("target")
@folder_option
def command(target: str, folder: Path) -> None:
    """Name the facts that changed since TARGET was made, and the actions that would run."""
    (one,) = chosen(describe_targets(folder), [target])
    if "error" in one:
        raise click.ClickException(one["error"])
    say(f"{one['name']} ({one['format']} {one['label']}): {one['standing']}")
    changes = [
        (action["name"], change) for action in one["actions"] for change in action["changes"]
    ]
    for name, change in changes:
        say(f"  {name}: {change}")
    if not changes and one["reason"]:
        say(f"  {one['reason']}")
    for action in one["actions"]:
        for line in action["told"].splitlines():
            say(f"  {line}".rstrip())
    if one["actions"]:
        count = sum(not action["is_known"] for action in one["actions"])
        say(f"  {count} of {len(one['actions'])} actions would run")
