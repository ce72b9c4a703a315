"""Whether this process is asked to end: SIGINT, SIGTERM or SIGHUP.

SCons' handlers of these signals keep it from starting more work, and then it waits for what runs.
So we look at the signals beside them, through the descriptor that Python writes each one to. Who
waits for a program also waits for `asked()`. A thread that does anything else for more than a
moment, such as digesting gigabytes or waiting for another build's lock, is not waited for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 1.2
"""Seconds that this process has to end by itself."""
_STATUS = 2
"""SCons' own after an interrupted build."""


class _Watch:
    """`asked` is a descriptor that can be read from once this process is asked to end."""

    def __init__(self) -> None:
        self.signals, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self.asked, self._asking = os.pipe()
        self._guard = threading.Lock()
        self._is_running = False

    def start(self) -> int:
        """Begin to look, at the first call; `asked`."""
        with self._guard:
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._look, daemon=True).start()
        return self.asked

    def _look(self) -> None:
        while os.read(self.signals, 1)[0] not in _SIGNALS:
            pass
        os.close(self._asking)
        time.sleep(_PATIENCE)
        print("phibuild: interrupted", file=sys.stderr)
        for folder in list(_scratch):
            shutil.rmtree(folder, ignore_errors=True)
        _leave(_STATUS)


_watch: _Watch | None = None
_scratch: set[Path] = set()


def watch() -> None:
    """Called once, in the main thread, by a process in which somebody else handles the signals. As
    long as nobody does, SIGTERM and SIGHUP end it as `end_by_exception` says."""
    global _watch
    _watch = _Watch()
    end_by_exception()


def end_by_exception() -> None:
    """Let SIGTERM and SIGHUP raise SystemExit in the main thread, so that what is half made is
    removed, as Ctrl-C raises KeyboardInterrupt."""

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup's stays ignored
            signal.signal(number, leave)


@contextlib.contextmanager
def status_at_exit() -> Iterator[None]:
    """Around what runs at exit: of an exception there Python prints a traceback, and then it ends
    with status 0."""
    try:
        yield
    except SystemExit as leaving:
        _leave(leaving.code if isinstance(leaving.code, int) else 1)
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT)


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def asked() -> int | None:
    """A descriptor that can be read from once this process is asked to end, by others' handlers;
    None in a process where an exception says so."""
    return None if _watch is None else _watch.start()


@contextlib.contextmanager
def removed_at_the_end(folder: Path) -> Iterator[None]:
    """Meanwhile this folder is removed, too, when this process ends without unwinding."""
    _scratch.add(folder)
    try:
        yield
    finally:
        _scratch.discard(folder)
