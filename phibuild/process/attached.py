"""Programs that use our own terminal while they run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from phibuild.process.ending import LIFE


def run_attached(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path | None = None,
) -> int:
    """Run a program to its end on our own terminal, or with all its output in `log`. Returns its
    exit status, or 128 and the number of the signal that killed it. Signals that end us are passed
    on, so that the program can end by itself; if we are killed, it notices by LIFE."""
    process: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: object) -> None:
        if process is not None and (number != signal.SIGINT or not _has_terminal()):
            process.send_signal(number)  # else Ctrl-C reaches it by itself

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ours = {number: signal.getsignal(number) for number in numbers}
    with contextlib.ExitStack() as until_it_ends:
        output = None if log is None else until_it_ends.enter_context(log.open("wb"))
        for number, handler in ours.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, pass_on)
                until_it_ends.callback(signal.signal, number, handler)
        alive, ours_only = os.pipe()
        until_it_ends.callback(os.close, ours_only)
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, LIFE: str(alive)},
            stdout=output,
            stderr=output,
            pass_fds=(alive,),
        )
        os.close(alive)
        status = process.wait()
    return status if status >= 0 else 128 - status


def _has_terminal() -> bool:
    """Whether the terminal sends its signals to our process group."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
