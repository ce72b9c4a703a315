"""One trial: a project with a store of its own, builds that something happens to, and the verdict.

A scenario is a function of a trial. It returns if the build survived, and raises a verdict if not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.conftest import Project

HANGS = 120
"""Seconds after which a build that takes one is said to hang."""

SPREAD = """\
import hashlib, pathlib, subprocess, time, phiworker

def main(job):
    text = job.inputs["text"].read_bytes()
    child = subprocess.Popen(["sleep", "0.3"])
    job.output.mkdir()
    for number in range(4):
        job.progress(number / 4, f"part {number}")
        with (job.output / f"{number}.bin").open("wb") as part:
            for block in range(8):
                part.write(hashlib.sha256(text + bytes([number, block])).digest() * 1024)
                part.flush()
                time.sleep(0.01)
    child.wait()

phiworker.run(main)
"""
JOIN = """\
import time, phiworker

def main(job):
    with job.output.open("wb") as joined:
        for path in sorted(job.inputs["parts"].iterdir()):
            joined.write(path.read_bytes())
            joined.flush()
            time.sleep(0.02)

phiworker.run(main)
"""
SCONSTRUCT = """\
parts = env.Artifact("dist/parts", worker="spread.py", inputs={"text": "in.txt"})
env.Artifact("dist/joined.bin", worker="join.py", inputs={"parts": parts})
"""


class Verdict(Exception):
    """What became of a build that did not survive."""


class Lost(Verdict):
    """It needs a person's hand: the next build fails or hangs, a process is left, a file of the
    user's is gone."""


class Wrong(Verdict):
    """It ended with status 0, and an artifact is not what its sources say."""


class Ugly(Verdict):
    """A traceback, an error without a code, something left lying about."""


class Ended(NamedTuple):
    """How a build ended: its exit status (negative: by that signal), what it printed, seconds."""

    status: int
    text: str
    seconds: float


class Trial:
    """A project in a folder of its own. `random` is seeded by the scenario and the number."""

    def __init__(self, folder: Path, scenario: str, number: int) -> None:
        self.number = number
        self.random = random.Random(f"{scenario} {number}")
        self.root = folder
        self.project = Project(folder / "project", {"PHIBUILD_STORE": str(folder / "store")})
        self.project.folder.mkdir(parents=True)
        self.project.write("spread.py", SPREAD)
        self.project.write("join.py", JOIN)
        self.project.sconstruct(SCONSTRUCT)
        self.write_text("one")

    @property
    def store(self) -> Path:
        """The store's folder."""
        return Path(self.project.environment["PHIBUILD_STORE"])

    def use_store(self, folder: Path) -> None:
        """Have another store from now on."""
        self.project = Project(self.folder, {"PHIBUILD_STORE": str(folder)})

    @property
    def folder(self) -> Path:
        """The project's folder."""
        return self.project.folder

    def write_text(self, text: str) -> None:
        """Change the one source."""
        self.text = text
        self.project.write("in.txt", text)

    def start(self, *arguments: str, folder: Path | None = None, **environment: str) -> Build:
        """Start SCons in a session of its own."""
        return Build(self, folder or self.folder, arguments, environment)

    def scons(self, *arguments: str, **environment: str) -> Ended:
        """Run SCons to its end; Lost if it hangs."""
        return self.start(*arguments, **environment).end()

    def survives(self, ended: Ended, *, killed: bool = False) -> None:
        """A build that something happened to: right if it says that it succeeded, else an error
        that names its cause."""
        if ended.status == 0:
            self.check_artifacts()
        elif not killed:
            check_error(ended)
        self.check_processes()

    def heals(self, *, builds: int = 1) -> None:
        """The fault is over: the next build is right, and the one after it has nothing to do."""
        for _ in range(builds):
            ended = self.scons()
            if ended.status != 0:
                raise Lost(f"the next build fails: {ended.text[-1500:]}")
            self.check_artifacts()
        again = self.scons()
        if again.status != 0 or "is up to date" not in again.text:
            raise Ugly(f"the build after the next one is not up to date: {again.text[-800:]}")
        self.check_processes()
        self.check_litter()

    def check_artifacts(self) -> None:
        """Wrong unless each artifact is what the source says."""
        parts = {
            f"{number}.bin": b"".join(
                hashlib.sha256(self.text.encode() + bytes([number, block])).digest() * 1024
                for block in range(8)
            )
            for number in range(4)
        }
        joined = b"".join(content for _, content in sorted(parts.items()))
        dist = self.folder / "dist"
        try:
            parts_there = {path.name: path.read_bytes() for path in (dist / "parts").iterdir()}
            is_right = parts_there == parts and (dist / "joined.bin").read_bytes() == joined
        except OSError as error:
            raise Wrong(f"an artifact is not there: {error}") from None
        if not is_right:
            raise Wrong(f"an artifact is not what in.txt says ({self.text!r})")

    def check_processes(self) -> None:
        """Lost if a process of this trial is left; one that was just killed may take a moment."""
        for _ in range(40):
            left = [command for _, command in self.processes()]
            if not left:
                return
            time.sleep(0.05)
        raise Lost(f"processes are left: {left}")

    def processes(self) -> Iterator[tuple[int, str]]:
        """Those that work in the trial's folder or name a file of it: number and command line."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                is_inside = str((process / "cwd").readlink()).startswith(f"{self.root}/")
                if is_inside or f"{self.root}/" in command:
                    yield int(process.name), command

    def workers(self) -> list[int]:
        """The processes that run a worker's script."""
        return [number for number, command in self.processes() if "job.json" in command]

    def check_litter(self) -> None:
        """Ugly if something is left beside the artifacts or in the store's workspaces."""
        known = {"parts", "parts.phi.json", "joined.bin", "joined.bin.phi.json"}
        left = sorted({path.name for path in (self.folder / "dist").iterdir()} - known)
        work = self.store / "work"
        left += [str(path) for path in work.iterdir()] if work.is_dir() else []
        if left:
            raise Ugly(f"left lying about: {left}")


class Build:
    """SCons, started."""

    def __init__(
        self, trial: Trial, folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str]
    ) -> None:
        self.trial = trial
        self.log = folder.parent / f"log-{time.monotonic_ns()}.txt"
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "SCons", "-Q", *arguments],
                cwd=folder,
                env={
                    **os.environ,
                    **trial.project.environment,
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_for(self, seconds: float) -> bool:
        """Let it run that long; whether it is still running then."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
            return False
        return True

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to SCons, or to all of its process group."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self) -> Ended:
        """Wait for its end."""
        try:
            status = self.process.wait(HANGS)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL, group=True)
            self.process.wait()
            raise Lost(f"the build hangs: {self._text()[-1500:]}") from None
        return Ended(status, self._text(), time.monotonic() - self.began)

    def _text(self) -> str:
        return self.log.read_text("utf-8", errors="replace")


def check_error(ended: Ended) -> None:
    """Ugly unless a failure has a code and no traceback."""
    own = [line for line in ended.text.splitlines() if not line.startswith("  | ")]
    if any(line.startswith("Traceback") for line in own):  # others are the worker's last words
        raise Ugly(f"a traceback: {ended.text[-1500:]}")
    if "[PHI" not in ended.text:
        raise Ugly(f"an error without a code: {ended.text[-800:]}")
