"""The table at the end of a build."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from phibuild.engine.building.realize import TargetResult
from phibuild.engine.declaration import Generation
from phibuild.model.sizes import show_seconds, show_size
from phibuild.model.text import printable
from phibuild.scons.display import say
from phibuild.scons.session import Session

LONGEST = 1000
"""Columns. No line of a table needs more."""


def print_summary(session: Session) -> None:
    """Print a table of the artifacts, and the answers that were generated."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:  # a log, where a line is a line
        console = Console(highlight=False, markup=False, emoji=False, width=LONGEST)
    with console.capture() as captured:
        _print(console, session)
    say(captured.get(), end="")


def _print(console: Console, session: Session) -> None:
    order = list(session.declarations)
    results = sorted(session.results, key=lambda result: order.index(result.declaration.target))
    artifacts = [
        result for result in results if not isinstance(result.declaration.origin, Generation)
    ]
    if artifacts:
        console.print(_table(artifacts))
    for result in results:
        generation = result.declaration.origin
        if isinstance(generation, Generation):
            artifact = session.declarations[generation.artifact]
            console.print(
                f"{printable(artifact.name)} generated in its own runtime ({artifact.format}):"
                f" {generation.prompt!r} → {' '.join(result.answer.split())[:100]!r}",
                soft_wrap=True,
            )
    others = len(session.declarations) - len(session.results)
    if others:
        console.print(f"{others} other targets were up to date or not selected.")


def _table(artifacts: list[TargetResult]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("artifact", "format", "precision"):
        table.add_column(name, overflow="fold")
    for name in ("size", "bits/weight"):
        table.add_column(name, justify="right")
    table.add_column("")
    table.add_column("seconds", justify="right")
    for result in artifacts:
        declaration, manifest = result.declaration, result.manifest
        bits = manifest.bits_per_weight
        table.add_row(
            printable(declaration.name),
            declaration.format,
            printable(declaration.label),
            show_size(manifest.tree.size),
            "" if bits is None else f"{bits:.2f}",
            result.verb,
            show_seconds(result.seconds).removesuffix(" s"),
        )
    return table
