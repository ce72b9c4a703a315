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


def _output(default: str) -> Callable[[_CommandT], _CommandT]:
    return click.option(
        *("-o", "--output"),
        type=click.Path(path_type=Path),
        help=f"What to write; {default} by default.",
    )


@click.group("delta")
def command() -> None:
    """Small updates from one artifact to another of its format."""


@command.command("make")
@click.argument("old", type=_EXISTING)
@click.argument("new", type=_EXISTING)
@_output(f"NEW{_SUFFIX}")
@click.option(
    "--window",
    type=click.IntRange(SMALLEST_WINDOW >> 10, LARGEST_WINDOW >> 10),
    default=WINDOW >> 10,
    show_default=True,
    help="KiB of new bytes in one record. A device needs three times as much memory.",
)
def make(old: Path, new: Path, output: Path | None, window: int) -> None:
    """Write the delta that turns OLD into NEW, both files or both folders."""
    output = output or Path(f"{new}{_SUFFIX}")
    with _bar("compare") as progress:
        make_delta(old, new, output, progress, window=window << 10)
    size, whole = output.stat().st_size, max(_size(new), 1)
    click.echo(f"{output}: {size:,} bytes, {size / whole:.2%} of {new.name}")


@command.command("apply")
@click.argument("old", type=_EXISTING)
@click.argument("delta", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_output(f"DELTA without {_SUFFIX}")
def apply(old: Path, delta: Path, output: Path | None) -> None:
    """Write the new artifact from OLD and DELTA. Resumes a run that was cut off."""
    output = output or _output_of(delta)
    with _bar("apply") as progress:
        apply_delta(old, delta, output, progress)
    click.echo(f"{output}: {_size(output):,} bytes, checked")


def _output_of(delta: Path) -> Path:
    """The delta's path without its suffix; PackagingError PHI703 if it has none, or that exists."""
    output = delta.with_suffix("")
    if delta.suffix == _SUFFIX and not os.path.lexists(output):
        return output
    problem = "already exists" if delta.suffix == _SUFFIX else f"does not end with {_SUFFIX}"
    raise PackagingError(f"{output} {problem}", hint="name the output: -o NEW", code="PHI703")


def _size(artifact: Path) -> int:
    return sum(file.size for file in files_of(artifact))


@contextmanager
def _bar(label: str) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal, nothing elsewhere. Yields a function of the share that is done."""
    with click.progressbar(
        length=1000, label=label, hidden=not sys.stderr.isatty(), file=sys.stderr
    ) as bar:
        yield lambda share: bar.update(int(share * 1000) - bar.pos)
