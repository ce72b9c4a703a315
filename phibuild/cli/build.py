"""`phibuild build`: bring targets up to date."""

from __future__ import annotations

from pathlib import Path

import click

from phibuild.cli.sconstruct import folder_option, run_scons


@click.command("build")
@click.argument("targets", nargs=-1)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=1, help="Build this many targets at once."
)
@click.option(
    "-k", "--keep-going", is_flag=True, help="Go on with targets that a failure does not affect."
)
@click.option("-s", "--silent", is_flag=True, help="Print errors only.")
@click.option(
    "--depfile",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the paths that TARGETS were made from, for Make or Ninja.",
)
@click.option(
    "--depfile-target",
    metavar="NAME",
    help="The name in the depfile instead of TARGETS, such as a stamp of the other build.",
)
@click.option("-f", "--file", "script", help="Read this instead of the SConstruct.")
@folder_option
def command(
    targets: tuple[str, ...],
    jobs: int,
    keep_going: bool,
    silent: bool,
    depfile: Path | None,
    depfile_target: str | None,
    script: str | None,
    folder: Path,
) -> None:
    """Bring TARGETS (by default, all) up to date. The same as `scons TARGETS`."""
    read = [] if script is None else ["-f", script]
    arguments = [*read, f"-j{jobs}", *["-k"] * keep_going, *["-s"] * silent, *targets]
    if depfile_target is not None and depfile is None:
        raise click.UsageError("--depfile-target requires --depfile")
    status = run_scons(arguments, folder=folder, depfile=depfile, depfile_target=depfile_target)
    raise SystemExit(status)
