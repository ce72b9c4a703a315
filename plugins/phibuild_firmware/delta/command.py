"""`phibuild delta make | apply`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from phibuild_firmware.delta.apply import apply_delta
from phibuild_firmware.delta.make import make_delta

_FILE = click.Path(exists=True, path_type=Path)
_OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write."
)


@click.group("delta")
def command() -> None:
    """Small updates from one artifact to another of its format."""


@command.command("make")
@click.argument("old", type=_FILE)
@click.argument("new", type=_FILE)
@_OUTPUT
def make(old: Path, new: Path, output: Path) -> None:
    """Write what makes NEW of OLD."""
    with _bar("compare") as progress:
        make_delta(old, new, output, progress)
    size, whole = output.stat().st_size, max(new.stat().st_size, 1)
    click.echo(f"{output}: {size:,} bytes, {size / whole:.2%} of {new.name}")


@command.command("apply")
@click.argument("old", type=_FILE)
@click.argument("delta", type=_FILE)
@_OUTPUT
def apply(old: Path, delta: Path, output: Path) -> None:
    """Make the new file of OLD and DELTA; goes on where an earlier run was cut off."""
    with _bar("apply") as progress:
        apply_delta(old, delta, output, progress)
    click.echo(f"{output}: {output.stat().st_size:,} bytes, as they should be")


@contextmanager
def _bar(label: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal, nothing elsewhere; it takes the share that is done."""
    with click.progressbar(
        length=1000, label=label, hidden=not sys.stderr.isatty(), file=sys.stderr
    ) as bar:
        yield lambda share: bar.update(int(share * 1000) - bar.pos)
