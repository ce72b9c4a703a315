"""The only module that starts a program."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    """How a program ended: exit status (negative: the signal that killed it), wall time in seconds,
    peak resident memory in bytes of the largest process among it and its waited-for children."""

    status: int
    seconds: float
    peak_bytes: int


def capture(command: Sequence[str | Path], *, may_fail: bool = False) -> str:
    """What a program prints, on either stream, that is expected to succeed at once."""
    return subprocess.run(
        command, check=not may_fail, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout


def run_logged(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    on_message: Callable[[bytes], bytes] | None = None,
) -> Outcome:
    """Run a program with its output in `log`. Lines that it writes to the file descriptor named by
    PHIBUILD_MESSAGES go to `on_message`, whose answer it can read from the one that
    PHIBUILD_ANSWERS names. It stays in our process group, so that Ctrl-C reaches it.
    """
    reader, writer = os.pipe()
    asker, answerer = os.pipe()
    start = time.monotonic()
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    **environment,
                    "PHIBUILD_MESSAGES": str(writer),
                    "PHIBUILD_ANSWERS": str(asker),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writer, asker),
            )
        except BaseException:
            os.close(reader)
            os.close(answerer)
            raise
        finally:
            os.close(writer)
            os.close(asker)
    listener = threading.Thread(target=_listen, args=(reader, answerer, on_message), daemon=True)
    listener.start()
    try:
        _, wait_status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    process.returncode = os.waitstatus_to_exitcode(wait_status)
    listener.join(timeout=5)
    kibibyte = 1 if os.uname().sysname == "Darwin" else 1024
    return Outcome(process.returncode, time.monotonic() - start, usage.ru_maxrss * kibibyte)


def _listen(messages: int, answers: int, on_message: Callable[[bytes], bytes] | None) -> None:
    with open(messages, "rb") as stream, open(answers, "wb", buffering=0) as answering:
        for line in stream:
            answer = on_message(line) if on_message is not None else b""
            if answer:
                with contextlib.suppress(BrokenPipeError):  # it died; its status tells
                    answering.write(answer)


def run_attached(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path | None = None,
) -> int:
    """Run a program to its end on our own terminal, or with all its output in `log`; its status."""
    if log is None:
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    with log.open("wb") as output:
        return subprocess.run(
            command, cwd=folder, env=environment, check=False, stdout=output, stderr=output
        ).returncode
