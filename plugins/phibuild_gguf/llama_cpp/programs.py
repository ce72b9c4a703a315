"""Runs a program of llama.cpp: its output goes to the log, its counting becomes progress.

Standard library only; a part of the workers.
"""

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


class Failure(phiworker.WorkerError):
    """The program ended with an error; `tail` is the end of what it printed."""

    def __init__(self, message: str, tail: str, *, code: str) -> None:
        super().__init__(message, hint="the log has all that it printed", code=code)
        self.tail = tail


def run_program(
    job: phiworker.Job,
    name: str,
    arguments: list[str],
    *,
    counter: str = r"(?!)",
    on_count: Callable[[re.Match[str]], None] = lambda _: None,
    stdout: IO[bytes] | None = None,
) -> None:
    """Run a program of the prefix in the scratch folder; `on_count` is called for every match of
    the pattern `counter` in what it prints. Standard output can go elsewhere than to the log.
    Failure if it ends with another status than 0."""
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
    pattern = re.compile(counter)
    unread, tail = "", ""
    while printed := os.read(reading_end, 1 << 16):
        sys.stdout.buffer.write(printed)
        sys.stdout.buffer.flush()
        text = printed.decode("utf-8", errors="replace")
        unread, tail = unread + text, (tail + text)[-_KEPT:]
        position = 0
        for match in pattern.finditer(unread):
            on_count(match)
            position = match.end()
        unread = unread[position:][-_KEPT:]
    os.close(reading_end)
    status = process.wait()
    if status != 0:
        raise _failure(name, status, tail, job.output.parent)


def _failure(name: str, status: int, tail: str, folder: Path) -> Failure | OSError:
    if shutil.disk_usage(folder).free < 1 << 20:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if status < 0 and -status in (signal.SIGKILL, signal.SIGTERM):
        return Failure(
            f"{name} was killed by {signal.Signals(-status).name};"
            " if nobody did it, the machine ran out of memory",
            tail,
            code="PHI402",
        )
    said = [line.strip() for line in tail.splitlines() if line.strip() and str(folder) not in line]
    telling = [line for line in said if re.search(r"error|fail|assert|abort", line, re.IGNORECASE)]
    words = (telling or said or [f"status {status}"])[-1]
    return Failure(f"{name} failed: {words}", tail, code="PHI401")


def named(source: Path, folder: Path, name: str) -> str:
    """The name under which a program finds the file in the folder: programs write the paths that
    they are given into what they make."""
    (folder / name).symlink_to(source.resolve())
    return name
