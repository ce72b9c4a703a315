"""A workshop that tells its progress, for commands that work without SCons."""

from __future__ import annotations

import click

from phibuild.engine.workshop import Workshop
from phibuild.model.sizes import show_seconds
from phibuild.model.text import printable_lines


def say(text: str, *, err: bool = False) -> None:
    """Print text that others wrote a part of."""
    click.echo(printable_lines(text), err=err)


class _Lines:
    """One line when an action begins."""

    def started(self, name: str, *, seconds: float | None) -> None:
        guess = "" if seconds is None else f", about {show_seconds(seconds)}"
        say(f"working   {name}{guess}")

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        pass

    def ended(self, name: str) -> None:
        pass

    def noticed(self, text: str) -> None:
        say(text)


def telling_workshop() -> Workshop:
    """The user's workshop, whose work is told."""
    return Workshop.open(_Lines())
