"""`phibuild delta make | apply`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from phibuild.api import PackagingError
from phibuild_delta.apply import apply_delta
from phibuild_delta.make import WINDOW, make_delta
from phibuild_delta.records import LARGEST_WINDOW, SMALLEST_WINDOW
from phibuild_delta.spaces import files_of

_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])
_EXISTING = click.Path(exists=True, path_type=Path)
_SUFFIX = ".phidelta"


def _output(otherwise: str) -> Callable[[_CommandT], _CommandT]:
    return click.option(
        *("-o", "--output"), type=click.Path(path_type=Path), help=f"What to write; {otherwise}."
    )


@click.group("delta")
def command() -> None:
    """Small updates from one artifact to another of its format."""


@command.command("make")
@click.argument("old", type=_EXISTING)
@click.argument("new", type=_EXISTING)
@_output(f"NEW{_SUFFIX} unless it is given")
@click.option(
    "--window",
    type=click.IntRange(SMALLEST_WINDOW >> 10, LARGEST_WINDOW >> 10),
    default=WINDOW >> 10,
    show_default=True,
    help="KiB of the new bytes that one record makes; a device needs three times as much memory.",
)
def make(old: Path, new: Path, output: Path | None, window: int) -> None:
    """Write what makes NEW of OLD, both files or both folders."""
    output = output or Path(f"{new}{_SUFFIX}")
    with _bar("compare") as progress:
        make_delta(old, new, output, progress, window=window << 10)
    size, whole = output.stat().st_size, max(_size(new), 1)
    click.echo(f"{output}: {size:,} bytes, {size / whole:.2%} of {new.name}")


@command.command("apply")
@click.argument("old", type=_EXISTING)
@click.argument("delta", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_output(f"DELTA without {_SUFFIX} unless it is given")
def apply(old: Path, delta: Path, output: Path | None) -> None:
    """Make the new artifact of OLD and DELTA; goes on where an earlier run was cut off."""
    output = output or _made_by(delta)
    with _bar("apply") as progress:
        apply_delta(old, delta, output, progress)
    click.echo(f"{output}: {_size(output):,} bytes, as they should be")


def _made_by(delta: Path) -> Path:
    """The name of what a delta makes, by its own; nothing is replaced that nobody named."""
    output = delta.with_suffix("")
    if delta.suffix == _SUFFIX and not os.path.lexists(output):
        return output
    why = "is there already" if delta.suffix == _SUFFIX else "does not tell what it makes"
    raise PackagingError(f"{output} {why}", hint="name what to write: -o NEW", code="PHI703")


def _size(artifact: Path) -> int:
    return sum(one.size for one in files_of(artifact))


@contextmanager
def _bar(label: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal, nothing elsewhere; it takes the share that is done."""
    with click.progressbar(
        length=1000, label=label, hidden=not sys.stderr.isatty(), file=sys.stderr
    ) as bar:
        yield lambda share: bar.update(int(share * 1000) - bar.pos)
