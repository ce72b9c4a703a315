"""`phibuild plan`: what a build would do, why, and what it would cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from phibuild.cli.console import say
from phibuild.cli.sconstruct import chosen, folder_option, project_state
from phibuild.engine.forecast.size import Size
from phibuild.model.sizes import show_seconds, show_size
from phibuild.store import Store
from phibuild.store.copying import Way, way_to

_ORDER = ("up to date", "recall", "work", "wait")

_LONGEST = 120

Document = dict[str, Any]


@click.command("plan")
@click.argument("targets", nargs=-1)
@click.option(
    "--json", "as_json", is_flag=True, help="Print all that is known as JSON, for programs."
)
@folder_option
def command(targets: tuple[str, ...], as_json: bool, folder: Path) -> None:
    """Print for each of TARGETS (by default, all) what a build would do, why, and what it would
    cost: bytes, time, memory and disk space."""
    project = project_state(folder, with_sizes=True)
    states = chosen(project["targets"], targets)
    if as_json:
        click.echo(json.dumps(project | {"targets": states}, indent=2))
        return
    for state in states:
        for line in _lines(state):
            say(line)
    counts = {name: sum(state.get("standing") == name for state in states) for name in _ORDER}
    say(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing")
    actions = to_run(states)
    if actions:
        say(f"in all: {_all(actions)}")
    store, beside = Path(project["store"]), Path(project["folder"])
    are_copies = way_to(beside, source=Store(store).marker) is Way.COPY
    for space in disk_spaces(states, store, beside, are_copies=are_copies):
        say(str(space))


def _lines(state: Document) -> Iterator[str]:
    if "error" in state:
        yield f"refused     {state['name']}"
        yield str(state["error"])
        return
    size = state["size"]
    shown = "" if size is None else f"  {Size(**size).word}{show_size(size['bytes'])}"
    reason = f"  ({_shortened(state['reason'])})" if state["reason"] else ""
    yield f"{state['standing']:<11} {state['name']}{shown}{reason}"
    if state["standing"] == "work":
        for action in state["actions"]:
            if not action["is_known"]:
                yield f"              run {action['name']}{_about(action)}"
            elif action["notes"]:
                for line in action["notes"].partition("\n\n")[0].splitlines():
                    yield f"              {line}"


def _shortened(reason: str) -> str:
    """The beginning of a reason that names many tensors; `phibuild explain` prints all of it."""
    return reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST].rpartition(' ')[0]} ..."


def _about(action: Document) -> str:
    if action["seconds"] is None:
        return ""
    return f", about {show_seconds(action['seconds'])}, {show_size(action['peak_bytes'])} of memory"


def to_run(states: Sequence[Document]) -> list[Document]:
    """The actions that have to run, each once however many targets need it."""
    actions = {
        action["number"]: action
        for state in states
        if state.get("standing") == "work"
        for action in state["actions"]
        if not action["is_known"]
    }
    return list(actions.values())


def _all(actions: Sequence[Document]) -> str:
    count = f"{len(actions)} action{'s' if len(actions) > 1 else ''}"
    known = [action for action in actions if action["seconds"] is not None]
    if not known:
        return f"{count}, none of which ever ran here"
    least = "about" if len(known) == len(actions) else "more than"
    seconds = show_seconds(sum(action["seconds"] for action in known))
    peak = show_size(max(action["peak_bytes"] for action in known))
    return f"{count}, {least} {seconds}, {peak} of memory at the peak"


class DiskSpace(NamedTuple):
    """Bytes that a build will write to a file system; `is_least` if more may be needed, because the
    output of some action has an unknown size."""

    folder: Path
    needed: int
    is_least: bool
    free: int

    def __str__(self) -> str:
        needed = f"{'more than ' if self.is_least else ''}{show_size(self.needed)} needed"
        word = "not enough space" if self.needed > self.free else "disk"
        return f"{word}: {needed}, {show_size(self.free)} free in {self.folder}"


def disk_spaces(
    states: Sequence[Document], store: Path, project: Path, *, are_copies: bool
) -> list[DiskSpace]:
    """The space that is needed in the store, and beside the SConstruct for artifacts that do not
    share the store's blocks: both together if that is the same file system."""
    working = [state for state in states if state.get("standing") == "work"]
    due = [state for state in states if state.get("standing") in ("work", "recall")]
    outputs = list(_output_sizes(working))
    copies = [state["size"] and state["size"]["bytes"] for state in due] if are_copies else []
    if store.stat().st_dev == project.stat().st_dev:
        outputs, copies = outputs + copies, []
    sizes = ((store, outputs), (project, copies))
    return [_disk_space(folder, needed) for folder, needed in sizes if needed]


def _output_sizes(working: Sequence[Document]) -> Iterator[int | None]:
    """Bytes that are written for each target and for none before it: by its actions, or at least
    the artifact itself; None if neither is known."""
    counted: set[int] = set()
    for state in working:
        actions = [action for action in to_run([state]) if action["number"] not in counted]
        counted.update(action["number"] for action in actions)
        sizes = [action["makes"] for action in actions]
        yield sum(sizes) if None not in sizes else state["size"] and state["size"]["bytes"]


def _disk_space(folder: Path, sizes: Sequence[int | None]) -> DiskSpace:
    needed = sum(size for size in sizes if size is not None)
    return DiskSpace(folder, needed, None in sizes, shutil.disk_usage(folder).free)
