"""`phibuild plan`: what a build would do and why, and what it would cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from phibuild.cli.console import say
from phibuild.cli.sconstruct import chosen, describe_project, folder_option
from phibuild.engine.forecast.size import Size
from phibuild.model.sizes import show_seconds, show_size
from phibuild.store import Store
from phibuild.store.copying import Way, way_to

_ORDER = ("up to date", "recall", "work", "wait")

_LONGEST = 120

Document = dict[str, Any]


@click.command("plan")
@click.argument("targets", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="For programs: all that is known, as JSON.")
@folder_option
def command(targets: tuple[str, ...], as_json: bool, folder: Path) -> None:
    """Say for each of TARGETS (all, if none is named) what a build would do, why, and what it would
    take: bytes, time, memory and room on the disk."""
    project = describe_project(folder, with_sizes=True)
    described = chosen(project["targets"], targets)
    if as_json:
        click.echo(json.dumps(project | {"targets": described}, indent=2))
        return
    for one in described:
        for line in _lines(one):
            say(line)
    counts = {name: sum(one.get("standing") == name for one in described) for name in _ORDER}
    say(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing")
    actions = to_run(described)
    if actions:
        say(f"in all: {_all(actions)}")
    store, beside = Path(project["store"]), Path(project["folder"])
    are_copies = way_to(beside, source=Store(store).marker) is Way.COPY
    for room in rooms(described, store, beside, are_copies=are_copies):
        say(str(room))


def _lines(one: Document) -> Iterator[str]:
    if "error" in one:
        yield f"refused     {one['name']}"
        yield str(one["error"])
        return
    size = one["size"]
    shown = "" if size is None else f"  {Size(**size).word}{show_size(size['bytes'])}"
    reason = f"  ({_shortened(one['reason'])})" if one["reason"] else ""
    yield f"{one['standing']:<11} {one['name']}{shown}{reason}"
    if one["standing"] == "work":
        for action in one["actions"]:
            if not action["is_known"]:
                yield f"              run {action['name']}{_about(action)}"
            elif action["told"]:
                for line in action["told"].partition("\n\n")[0].splitlines():
                    yield f"              {line}"


def _shortened(reason: str) -> str:
    """The beginning of a reason that names many tensors; `phibuild explain` has all of it."""
    return reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST].rpartition(' ')[0]} ..."


def _about(action: Document) -> str:
    if action["seconds"] is None:
        return ""
    return f", about {show_seconds(action['seconds'])}, {show_size(action['peak_bytes'])} of memory"


def to_run(described: Sequence[Document]) -> list[Document]:
    """The actions that have to run, each once however many targets need it."""
    found = {
        action["number"]: action
        for one in described
        if one.get("standing") == "work"
        for action in one["actions"]
        if not action["is_known"]
    }
    return list(found.values())


def _all(actions: Sequence[Document]) -> str:
    count = f"{len(actions)} action{'s' if len(actions) > 1 else ''}"
    known = [action for action in actions if action["seconds"] is not None]
    if not known:
        return f"{count}, none of which ever ran here"
    least = "about" if len(known) == len(actions) else "more than"
    seconds = show_seconds(sum(action["seconds"] for action in known))
    peak = show_size(max(action["peak_bytes"] for action in known))
    return f"{count}, {least} {seconds}, {peak} of memory at the peak"


class Room(NamedTuple):
    """Bytes that a build will write to a file system; `is_least` if more may be needed, because it
    is not known what some action makes."""

    folder: Path
    needed: int
    is_least: bool
    free: int

    def __str__(self) -> str:
        needed = f"{'more than ' if self.is_least else ''}{show_size(self.needed)} needed"
        word = "not enough room" if self.needed > self.free else "disk"
        return f"{word}: {needed}, {show_size(self.free)} free in {self.folder}"


def rooms(
    described: Sequence[Document], store: Path, project: Path, *, are_copies: bool
) -> list[Room]:
    """The room that is needed in the store, and for artifacts that do not share its blocks
    beside the SConstruct: both together where that is one file system."""
    working = [one for one in described if one.get("standing") == "work"]
    placed = [one for one in described if one.get("standing") in ("work", "recall")]
    made = list(_made(working))
    copied = [one["size"] and one["size"]["bytes"] for one in placed] if are_copies else []
    if store.stat().st_dev == project.stat().st_dev:
        made, copied = made + copied, []
    sizes = ((store, made), (project, copied))
    return [_room(folder, needed) for folder, needed in sizes if needed]


def _made(working: Sequence[Document]) -> Iterator[int | None]:
    """Bytes that are made for each target and for none before it: by its actions, or at least the
    artifact itself; None if neither is known."""
    counted: set[int] = set()
    for one in working:
        actions = [action for action in to_run([one]) if action["number"] not in counted]
        counted.update(action["number"] for action in actions)
        made = [action["makes"] for action in actions]
        yield sum(made) if None not in made else one["size"] and one["size"]["bytes"]


def _room(folder: Path, sizes: Sequence[int | None]) -> Room:
    needed = sum(size for size in sizes if size is not None)
    return Room(folder, needed, None in sizes, shutil.disk_usage(folder).free)
