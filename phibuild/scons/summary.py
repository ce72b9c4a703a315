"""The table at the end of a build."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from phibuild.engine.building.realize import Made
from phibuild.engine.declaration import Generation
from phibuild.model.sizes import show_seconds, show_size
from phibuild.model.text import printable
from phibuild.scons.display import say
from phibuild.scons.session import Session

LONGEST = 1000
"""Columns that no line of a table needs."""


def print_summary(session: Session) -> None:
    """What was made, and that it generated in its own runtime where that was asked for."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:  # a log, where a line is a line
        console = Console(highlight=False, markup=False, emoji=False, width=LONGEST)
    with console.capture() as captured:
        _print(console, session)
    say(captured.get(), end="")


def _print(console: Console, session: Session) -> None:
    order = list(session.declarations)
    made = sorted(session.made, key=lambda one: order.index(one.declaration.target))
    artifacts = [one for one in made if not isinstance(one.declaration.what, Generation)]
    if artifacts:
        console.print(_table(artifacts))
    for one in made:
        what = one.declaration.what
        if isinstance(what, Generation):
            asked = session.declarations[what.artifact]
            console.print(
                f"{printable(asked.name)} generated in its own runtime ({asked.format}):"
                f" {what.prompt!r} → {' '.join(one.answer.split())[:100]!r}",
                soft_wrap=True,
            )
    untouched = len(session.declarations) - len(session.made)
    if untouched:
        console.print(f"{untouched} other targets were up to date or not asked for.")


def _table(artifacts: list[Made]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("artifact", "format", "precision"):
        table.add_column(name, overflow="fold")
    for name in ("size", "bits/weight"):
        table.add_column(name, justify="right")
    table.add_column("")
    table.add_column("seconds", justify="right")
    for one in artifacts:
        bits = one.manifest.bits_per_weight
        table.add_row(
            printable(one.declaration.name),
            one.declaration.format,
            printable(one.declaration.label),
            show_size(one.manifest.tree.size),
            "" if bits is None else f"{bits:.2f}",
            one.outcome.value,
            show_seconds(one.seconds).removesuffix(" s"),
        )
    return table
