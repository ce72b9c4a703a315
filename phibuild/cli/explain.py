"""`phibuild explain TARGET`: why a target would be built again, fact by fact."""

from __future__ import annotations

from pathlib import Path

import click

from phibuild.cli.console import say
from phibuild.cli.sconstruct import chosen, folder_option, target_states


@click.command("explain")
@click.argument("target")
@folder_option
def command(target: str, folder: Path) -> None:
    """Print the facts that changed since TARGET was built, and the actions that would run."""
    (state,) = chosen(target_states(folder), [target])
    if "error" in state:
        raise click.ClickException(state["error"])
    say(f"{state['name']} ({state['format']} {state['label']}): {state['standing']}")
    changes = [
        (action["name"], change) for action in state["actions"] for change in action["changes"]
    ]
    for name, change in changes:
        say(f"  {name}: {change}")
    if not changes and state["reason"]:
        say(f"  {state['reason']}")
    for action in state["actions"]:
        for line in action["notes"].splitlines():
            say(f"  {line}".rstrip())
    if state["actions"]:
        count = sum(not action["is_known"] for action in state["actions"])
        say(f"  {count} of {len(state['actions'])} actions would run")
