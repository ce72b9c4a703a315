"""The build's display: which actions run, for how long, and how much is left.

On a terminal a few live lines at the bottom; elsewhere a plain line now and then. rich is imported
when there is something to show, so that a build with nothing to do does not pay for it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from phibuild.model.sizes import show_seconds, show_size

if TYPE_CHECKING:
    from phibuild.engine.building.realize import TargetResult

_QUIET_SECONDS = 10.0
"""Without a terminal, at most one line an action in this time."""


class _Running:
    def __init__(self, expected: float | None) -> None:
        self.began = time.monotonic()
        self.expected = expected
        self.row: Any = None
        self.last_line = 0.0


class Display:
    """Implements the engine's Reporter; safe to call from several threads."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self._expected: dict[str, float | None] = {}
        self._total = 0
        self._overall: Any = None
        self._running: dict[str, _Running] = {}
        self._guard = threading.Lock()
        self._live: Any = None

    def expect(self, seconds: dict[str, float | None]) -> None:
        """Set what the build is about to make: for each target the seconds that it may take."""
        with self._guard:
            self._expected = dict(seconds)
            self._total = len(seconds)

    def started(self, name: str, *, seconds: float | None) -> None:
        """An action begins to work."""
        with self._guard:
            self._running[name] = running = _Running(seconds)
            if self.silent:
                return
            if sys.stdout.isatty():
                progress = self._progress()
                if self._overall is None and self._total > 1:
                    self._overall = progress.add_task("all", total=self._total, note=self._ahead())
                running.row = progress.add_task(_shown(name), total=1.0, note="")
            else:
                guess = "" if seconds is None else f", about {show_seconds(seconds)}"
                say(f"working   {_shown(name)}{guess}")

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        """An action has done a share of its work."""
        with self._guard:
            running = self._running.get(name)
            if running is None or self.silent:
                return
            spent = time.monotonic() - running.began
            note = f"{_shown(text)}  {_left(spent, fraction, running.expected)}"
            if self._live is not None:
                self._live.update(running.row, completed=fraction or 0.0, note=note)
            elif spent - running.last_line >= _QUIET_SECONDS:
                running.last_line = spent
                share = "" if fraction is None else f"{fraction:.0%} "
                so_far = f"({show_seconds(spent)} so far)"
                say(f"          {_shown(name)}: {share}{note} {so_far}")

    def ended(self, name: str) -> None:
        """An action is over."""
        with self._guard:
            running = self._running.pop(name, None)
            if running is not None and self._live is not None and running.row is not None:
                self._live.remove_task(running.row)

    def noticed(self, text: str) -> None:
        """The user has to know this, even in a silent build."""
        with self._guard:
            say("\n".join(map(_shown, text.split("\n"))))

    def finished(self, result: TargetResult) -> None:
        """A target is up to date."""
        if self.silent:
            return
        with self._guard:
            declaration = result.declaration
            self._expected.pop(declaration.name, None)
            ahead = self._ahead()
            if self._live is not None and self._overall is not None:
                done = self._total - len(self._expected)
                self._live.update(self._overall, completed=done, note=ahead)
            size = show_size(result.manifest.tree.size)
            artifact = f"{declaration.format} {declaration.label}, {size}"
            say(
                _shown(
                    f"{result.verb:<9} {declaration.name}"
                    f"  ({artifact}, {show_seconds(result.seconds)})"
                    + (f"  {ahead}" if ahead else "")
                )
            )

    def close(self) -> None:
        """Leave the terminal as it was."""
        with self._guard:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _ahead(self) -> str:
        """How much of the whole build is left: targets, and their time where it is known."""
        if not self._expected or self._total < 2:
            return ""
        known = [seconds for seconds in self._expected.values() if seconds is not None]
        time_left = sum(known)
        text = f"{len(self._expected)} of {self._total} targets left"
        if time_left >= 1:
            least = "about" if len(known) == len(self._expected) else "more than"
            text += f", {least} {show_seconds(time_left)} of work"
        return text

    def _progress(self) -> Any:
        if self._live is None:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._live = Progress(
                TextColumn("{task.description}", style="bold", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                transient=True,
            )
            self._live.start()
        return self._live


def say(text: str, *, end: str = "\n") -> None:
    """Print a line. If nobody reads the output any more, as after `scons | head -1`, this line and
    all later ones are dropped, and the build goes on."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _shown(text: str) -> str:
    from phibuild.model.text import printable  # a null build prints nothing

    return printable(text)


def _left(spent: float, fraction: float | None, expected: float | None) -> str:
    """How much is left: from the share done once it says something, else from the last time."""
    if fraction is not None and fraction > 0.05:
        return f"about {show_seconds(spent * (1 - fraction) / fraction)} left"
    if expected is not None and expected > spent:
        return f"about {show_seconds(expected - spent)} left"
    return ""
