"""The cost of a command and its children: wall time, processor time and peak memory."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall seconds, processor seconds, and bytes of the largest process."""

    seconds: float
    processor: float
    peak_bytes: int


def cost_of(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str] | None = None
) -> Cost:
    """Run a command that must succeed, with its output in a log beside the folder. Python may write
    bytecode, as it does for users. Earlier writes go to the disk first, so that no command pays for
    another's.
    """
    os.sync()
    log = folder.parent / f"{folder.name}.log"
    log.unlink(missing_ok=True)
    before = _processor()
    around = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=around | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise AssertionError(f"{command}\n{log.read_text('utf-8', errors='replace')[-4000:]}")
    return Cost(seconds, _processor() - before, usage.ru_maxrss * 1024)


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def best(costs: Sequence[Cost]) -> Cost:
    """The minimum of each: the rest is other load on the machine."""
    return Cost(
        min(cost.seconds for cost in costs),
        min(cost.processor for cost in costs),
        min(cost.peak_bytes for cost in costs),
    )
