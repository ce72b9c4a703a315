"""What `phibuild show` prints of a source model: a folder with a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import click

from phibuild.cli.console import reporting_workshop, say
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PhiError
from phibuild.model.sizes import show_size
from phibuild.source.summary import Summary, summarize


def show_model(folder: Path, *, as_json: bool) -> None:
    """Print a model. Weights are read for their digests unless the store knows the files."""
    shop = Workshop.open() if as_json else reporting_workshop()
    try:
        summary = summarize(shop.sources.checkpoint(folder))
    except PhiError as error:
        raise click.ClickException(str(error)) from None
    say(as_text(folder, summary) if not as_json else to_json(folder, summary))


def as_text(folder: Path, summary: Summary) -> str:
    """The text for people."""
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
        width = max(len(file.name) for file in summary.ignored)
        lines.append("\nignored files")
        lines += [f"  {file.name:<{width}}  {file.reason}" for file in summary.ignored]
    if summary.warnings:
        lines.append("\nwarnings")
        lines += [f"  {warning}" for warning in summary.warnings]
    return "\n".join(lines)


def to_json(folder: Path, summary: Summary) -> str:
    """The same for programs, with all files."""
    document = {
        "folder": str(folder),
        "family": summary.family,
        "parameters": summary.parameters,
        "size": summary.size,
        "dtypes": summary.dtypes,
        "slices": {
            part.name: {"digest": str(part.digest), "files": part.files} for part in summary.slices
        },
        "ignored": [file._asdict() for file in summary.ignored],
        "warnings": summary.warnings,
    }
    return json.dumps(document, indent=2)


def _some(files: tuple[str, ...]) -> str:
    """The names of files; of many only the first and the last."""
    if not files:
        return "(no file)"
    if len(files) <= 6:
        return ", ".join(files)
    return f"{files[0]}, ... {len(files) - 2} more ..., {files[-1]}"
