"""Processes of this machine, by a word that is in no others."""

from __future__ import annotations

import os
import time
from pathlib import Path


def processes_with(word: str) -> list[int]:
    """Those that have the word in their command line and have not ended."""
    numbers = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(word) in path.read_bytes() and int(path.parent.name) != os.getpid():
                numbers.append(int(path.parent.name))
        except OSError:
            continue
    return numbers


def are_gone(word: str, *, within: float = 10) -> bool:
    """Whether all of them end within these seconds."""
    deadline = time.monotonic() + within
    while processes_with(word):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
