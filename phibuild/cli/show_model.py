"""What `phibuild show` prints of a source model: a folder with a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import click

from phibuild.cli.console import say, telling_workshop
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PhiError
from phibuild.model.sizes import show_size
from phibuild.source.summary import Summary, summarize


def show_model(folder: Path, *, as_json: bool) -> None:
    """Print it. Weights are read for their digests unless the store knows the files."""
    shop = Workshop.open() if as_json else telling_workshop()
    try:
        summary = summarize(shop.checkpoint(folder))
    except PhiError as error:
        raise click.ClickException(str(error)) from None
    say(as_text(folder, summary) if not as_json else to_json(folder, summary))


def as_text(folder: Path, summary: Summary) -> str:
    """For people."""
    dtypes = ", ".join(f"{count} tensors {dtype}" for dtype, count in summary.dtypes.items())
    lines = [
        f"{folder.name}: {summary.family}",
        f"{summary.parameters:,} weights, {show_size(summary.size)}: {dtypes}",
        "\nslices",
    ]
    for part in summary.slices:
        lines.append(f"  {part.name:<14} {part.digest}")
        lines.append(f"  {'':<14} {_some(part.files)}")
    if summary.ignored:
        width = max(len(one.name) for one in summary.ignored)
        lines.append("\nignored files")
        lines += [f"  {one.name:<{width}}  {one.reason}" for one in summary.ignored]
    if summary.warnings:
        lines.append("\nwarnings")
        lines += [f"  {one}" for one in summary.warnings]
    return "\n".join(lines)


def to_json(folder: Path, summary: Summary) -> str:
    """For programs: the same, with all files."""
    document = {
        "folder": str(folder),
        "family": summary.family,
        "parameters": summary.parameters,
        "size": summary.size,
        "dtypes": summary.dtypes,
        "slices": {
            part.name: {"digest": str(part.digest), "files": part.files} for part in summary.slices
        },
        "ignored": [one._asdict() for one in summary.ignored],
        "warnings": summary.warnings,
    }
    return json.dumps(document, indent=2)


def _some(files: tuple[str, ...]) -> str:
    """The names of files, of many the first and the last."""
    if not files:
        return "(no file)"
    if len(files) <= 6:
        return ", ".join(files)
    return f"{files[0]}, ... {len(files) - 2} more ..., {files[-1]}"
