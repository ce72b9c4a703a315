"""Runs a program of llama.cpp: copies its output to the log and matches it for progress."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import phiworker

_KEPT = 4000


class ProgramFailure(phiworker.WorkerError):
    """The program failed; `tail` is the end of its output."""

    def __init__(self, message: str, tail: str, *, code: str) -> None:
        super().__init__(message, hint="the log has its whole output", code=code)
        self.tail = tail


def run_program(
    job: phiworker.Job,
    name: str,
    arguments: list[str],
    *,
    pattern: str = r"(?!)",
    on_match: Callable[[re.Match[str]], None] = lambda _: None,
    stdout: IO[bytes] | None = None,
) -> None:
    """Run a program in the scratch folder and call `on_match` for every match of `pattern` in its
    output. Standard output goes to `stdout` if given, else to the log too. ProgramFailure if the
    exit status is not 0."""
    program = job.tools["llama.cpp"] / "bin" / name
    reading_end, writing_end = os.pipe()
    process = subprocess.Popen(
        [program, *arguments],
        cwd=job.scratch,
        stdin=subprocess.DEVNULL,
        stdout=stdout or writing_end,
        stderr=writing_end,
    )
    os.close(writing_end)
    compiled = re.compile(pattern)
    unread, tail = "", ""
    while output := os.read(reading_end, 1 << 16):
        sys.stdout.buffer.write(output)
        sys.stdout.buffer.flush()
        text = output.decode("utf-8", errors="replace")
        unread, tail = unread + text, (tail + text)[-_KEPT:]
        position = 0
        for match in compiled.finditer(unread):
            on_match(match)
            position = match.end()
        unread = unread[position:][-_KEPT:]
    os.close(reading_end)
    status = process.wait()
    if status != 0:
        raise _failure(name, status, tail, job.output.parent)


def _failure(name: str, status: int, tail: str, folder: Path) -> ProgramFailure | OSError:
    if shutil.disk_usage(folder).free < 1 << 20:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if status < 0 and -status in (signal.SIGKILL, signal.SIGTERM):
        return ProgramFailure(
            f"{name} was killed by {signal.Signals(-status).name}; the machine may have run out of"
            " memory",
            tail,
            code="PHI402",
        )
    lines = [line.strip() for line in tail.splitlines() if line.strip() and str(folder) not in line]
    errors = [line for line in lines if re.search(r"error|fail|assert|abort", line, re.IGNORECASE)]
    reason = (errors or lines or [f"status {status}"])[-1]
    return ProgramFailure(f"{name} failed: {reason}", tail, code="PHI401")


def linked_name(source: Path, folder: Path, name: str) -> str:
    """Link to the file from the folder and return the name there: programs write the paths of their
    inputs into their outputs."""
    (folder / name).symlink_to(source.resolve())
    return name
