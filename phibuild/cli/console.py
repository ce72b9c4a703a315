"""A workshop that tells its progress, for commands that work without SCons."""

from __future__ import annotations

import click

from phibuild.engine.workshop import Workshop
from phibuild.model.sizes import show_seconds


class _Lines:
    """One line when an action begins."""

    def started(self, name: str, *, seconds: float | None) -> None:
        guess = "" if seconds is None else f", about {show_seconds(seconds)}"
        click.echo(f"working   {name}{guess}")

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        pass

    def ended(self, name: str) -> None:
        pass

    def noticed(self, text: str) -> None:
        click.echo(text)


def telling_workshop() -> Workshop:
    """The user's workshop, whose work is told."""
    return Workshop.open(_Lines())
