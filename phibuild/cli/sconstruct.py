"""Running SCons on the user's SConstruct, as a subprocess: one build a process."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from phibuild.cli.console import say
from phibuild.model.text import printable
from phibuild.process.attached import run_attached

DESCRIBE = "PHIBUILD_DESCRIBE"
DESCRIBE_SIZES = "PHIBUILD_DESCRIBE_SIZES"
DEPFILE = "PHIBUILD_DEPFILE"
DEPFILE_FROM = "PHIBUILD_DEPFILE_FROM"
DEPFILE_TARGET = "PHIBUILD_DEPFILE_TARGET"
_SCONS = (
    sys.executable,
    "-P",
    "-c",
    "import signal; ours = signal.getsignal(signal.SIGINT);"
    " ours is signal.default_int_handler and signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " from SCons.Script.Main import main; signal.signal(signal.SIGINT, ours); main()",
)
"""SCons as a program. Ctrl-C while it is imported would end in a traceback."""
_DEPFILE = re.compile(r"(.+: \\\n(  .+ \\\n)*\n(.+:\n)*)?")
"""What phibuild.scons.depfile writes, or nothing."""


def run_scons(
    arguments: Sequence[str],
    *,
    folder: Path,
    depfile: Path | None = None,
    depfile_target: str | None = None,
) -> int:
    """Run SCons with these arguments in this folder, on our own terminal; its exit status. What the
    targets were made from is in `depfile` after a success, and only then."""
    command = [*_SCONS, "-Q", *arguments]
    if depfile is None:
        return run_attached(command, folder=folder, environment=os.environ)
    _refuse_to_replace(depfile)
    beside = _begin(depfile)
    asked = {DEPFILE: str(beside), DEPFILE_FROM: str(Path.cwd())}
    if depfile_target is not None:
        asked[DEPFILE_TARGET] = depfile_target
    try:
        status = run_attached(command, folder=folder, environment={**os.environ, **asked})
        if status != 0:
            depfile.unlink(missing_ok=True)
            return status
        if not beside.stat().st_size:
            raise click.ClickException(f"{depfile} could not be written")  # SCons said why
        beside.replace(depfile)
    finally:
        beside.unlink(missing_ok=True)
    return status


def _begin(depfile: Path) -> Path:
    """An empty file beside the depfile: a build of an hour does not end with the news that its
    folder is not there."""
    beside = depfile.absolute().with_name(f".{depfile.name}.{secrets.token_hex(8)}")
    try:
        beside.touch(exist_ok=False)
    except OSError as error:
        raise click.ClickException(f"{depfile} cannot be written: {error.strerror}") from None
    return beside


def _refuse_to_replace(depfile: Path) -> None:
    """End the command if what lies at the depfile's path is not one that phibuild wrote: it would
    be replaced after a success, and removed after a failure."""
    if not os.path.lexists(depfile):
        return
    try:
        text = depfile.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        text = "?"
    if not _DEPFILE.fullmatch(text):
        raise click.ClickException(
            f"{depfile} is there already and is not a depfile: name another path"
        )


def describe_targets(folder: Path) -> list[dict[str, Any]]:
    """The targets that the SConstruct in `folder` declares, and how they stand."""
    targets: list[dict[str, Any]] = describe_project(folder)["targets"]
    return targets


def describe_project(folder: Path, *, with_sizes: bool = False) -> dict[str, Any]:
    """What the SConstruct in `folder` declares and how it stands; no artifact is built or changed.

    Ends the command with SCons' own message if the SConstruct cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "description.json"
        log = Path(scratch) / "log.txt"
        status = run_attached(
            # A question to SCons that builds nothing: with -n nothing is executed.
            [*_SCONS, "-Q", "-s", "-n"],
            folder=folder,
            environment={
                **os.environ,
                DESCRIBE: str(answer),
                **({DESCRIBE_SIZES: "1"} if with_sizes else {}),
            },
            log=log,
        )
        if status != 0 or not answer.is_file():
            say(log.read_text("utf-8", errors="replace").strip(), err=True)
            raise SystemExit(status or 2)
        document: dict[str, Any] = json.loads(answer.read_text("utf-8"))
        return document


def chosen(targets: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The targets of these names, all if none is given; ends the command for an unknown name."""
    if not names:
        return targets
    wanted = {str(Path(name)) for name in names}
    unknown = wanted - {one["name"] for one in targets}
    if unknown:
        known = "\n  ".join(printable(one["name"]) for one in targets)
        named = printable(", ".join(sorted(unknown)))
        raise click.ClickException(f"no target {named}; there are\n  {known}")
    return [one for one in targets if one["name"] in wanted]


folder_option = click.option(
    "-C",
    "--directory",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The folder of the SConstruct.",
)
