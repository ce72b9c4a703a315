"""Programs that answer at once, such as a compiler that prints its version."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

SYSTEM_PATH = ("/usr/bin", "/bin", "/usr/sbin", "/sbin")
"""Where a program finds other programs, after its own folder."""
_TIMEOUT = 60


def capture(command: Sequence[str | Path], *, may_fail: bool = False) -> str:
    """The output of a program, on both streams. It does not get the user's environment: an answer
    in another language would be another identity."""
    try:
        return subprocess.run(
            command,
            check=not may_fail,
            env={"PATH": search_path(command[0]), "LC_ALL": "C", "LANGUAGE": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
        ).stdout
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{command[0]} did not answer in {_TIMEOUT} seconds") from None


def search_path(*programs: str | Path) -> str:
    """The PATH with which these programs start others: their own folders, then the system's."""
    folders = [str(Path(program).parent) for program in programs]
    return os.pathsep.join(dict.fromkeys((*folders, *SYSTEM_PATH)))
