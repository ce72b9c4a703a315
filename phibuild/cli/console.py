"""Printing, and a workshop that reports its progress, for commands that do not start SCons."""

from __future__ import annotations

import click

from phibuild.engine.workshop import Workshop
from phibuild.model.sizes import show_seconds
from phibuild.model.text import printable_lines


def say(text: str, *, err: bool = False) -> None:
    """Print text that may contain other people's words: terminal escapes in it are shown."""
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


def reporting_workshop() -> Workshop:
    """The user's workshop; its work is reported line by line."""
    return Workshop.open(_Lines())
