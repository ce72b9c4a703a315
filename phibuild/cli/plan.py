"""`phibuild plan`: what a build would do, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from phibuild.cli.sconstruct import chosen, describe_targets, folder_option
from phibuild.model.sizes import show_seconds


@click.command("plan")
@click.argument("targets", nargs=-1)
@folder_option
def command(targets: tuple[str, ...], folder: Path) -> None:
    """Say for each of TARGETS (all, if none is named) what a build would do and why."""
    described = chosen(describe_targets(folder), targets)
    for one in described:
        if "error" in one:
            click.echo(f"refused     {one['name']}\n{one['error']}")
            continue
        click.echo(f"{one['standing']:<11} {one['name']}" + _because(one))
        if one["standing"] == "work":
            for action in one["actions"]:
                if not action["is_known"]:
                    click.echo(f"              run {action['name']}{_expected(action['seconds'])}")
    counts = {name: sum(one.get("standing") == name for one in described) for name in _ORDER}
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing")


_ORDER = ("up to date", "recall", "work", "wait")


def _because(one: dict[str, Any]) -> str:
    return f"  ({one['reason']})" if one["reason"] else ""


def _expected(seconds: float | None) -> str:
    return "" if seconds is None else f", about {show_seconds(seconds)}"
