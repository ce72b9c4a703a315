"""Running SCons on the user's SConstruct, in a process of its own."""

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
from phibuild.process.scons_variables import (
    DEPFILE,
    DEPFILE_FROM,
    DEPFILE_TARGET,
    STATE_FILE,
    WITH_SIZES,
)

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
"""A file that phibuild.scons.depfile wrote, or an empty one."""


def run_scons(
    arguments: Sequence[str],
    *,
    folder: Path,
    depfile: Path | None = None,
    depfile_target: str | None = None,
) -> int:
    """Run SCons with these arguments in this folder, on our own terminal; its exit status. The
    `depfile` is written after a success only."""
    command = [*_SCONS, "-Q", *arguments]
    if depfile is None:
        return run_attached(command, folder=folder, environment=os.environ)
    _refuse_to_replace(depfile)
    beside = _begin(depfile)
    variables = {DEPFILE: str(beside), DEPFILE_FROM: str(Path.cwd())}
    if depfile_target is not None:
        variables[DEPFILE_TARGET] = depfile_target
    try:
        status = run_attached(command, folder=folder, environment={**os.environ, **variables})
        if status != 0:
            depfile.unlink(missing_ok=True)
            return status
        if not beside.stat().st_size:
            raise click.ClickException(f"no depfile: the SConstruct in {folder} has no artifacts")
        beside.replace(depfile)
    finally:
        beside.unlink(missing_ok=True)
    return status


def _begin(depfile: Path) -> Path:
    """An empty file beside the depfile: that its folder does not exist is not an error to find
    after an hour."""
    beside = depfile.absolute().with_name(f".{depfile.name}.{secrets.token_hex(8)}")
    try:
        beside.touch(exist_ok=False)
    except OSError as error:
        raise click.ClickException(f"{depfile} cannot be written: {error.strerror}") from None
    return beside


def _refuse_to_replace(depfile: Path) -> None:
    """End the command if the file at the depfile's path is not one that phibuild wrote: it would be
    replaced after a success, and removed after a failure."""
    if not os.path.lexists(depfile):
        return
    try:
        text = depfile.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        text = "?"
    if not _DEPFILE.fullmatch(text):
        raise click.ClickException(
            f"{depfile} already exists and is not a depfile: name another path"
        )


def target_states(folder: Path) -> list[dict[str, Any]]:
    """The states of the targets that the SConstruct in `folder` declares."""
    targets: list[dict[str, Any]] = project_state(folder)["targets"]
    return targets


def project_state(folder: Path, *, with_sizes: bool = False) -> dict[str, Any]:
    """What phibuild.scons.project_state writes of the SConstruct in `folder`; no artifact is built
    or changed.

    Ends the command with SCons' own message if the SConstruct cannot be read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        state_file = Path(scratch) / "state.json"
        log = Path(scratch) / "log.txt"
        status = run_attached(
            [*_SCONS, "-Q", "-s", "-n"],  # with -n nothing is executed
            folder=folder,
            environment={
                **os.environ,
                STATE_FILE: str(state_file),
                **({WITH_SIZES: "1"} if with_sizes else {}),
            },
            log=log,
        )
        if status != 0 or not state_file.is_file():
            say(log.read_text("utf-8", errors="replace").strip(), err=True)
            raise SystemExit(status or 2)
        document: dict[str, Any] = json.loads(state_file.read_text("utf-8"))
        return document


def chosen(targets: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The targets of these names, all if none is given; ends the command for an unknown name."""
    if not names:
        return targets
    paths = {str(Path(name)) for name in names}
    unknown = paths - {target["name"] for target in targets}
    if unknown:
        known = "\n  ".join(printable(target["name"]) for target in targets)
        named = printable(", ".join(sorted(unknown)))
        raise click.ClickException(f"no target {named}; there are\n  {known}")
    return [target for target in targets if target["name"] in paths]


folder_option = click.option(
    "-C",
    "--directory",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The folder of the SConstruct.",
)
