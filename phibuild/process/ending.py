"""Notices that this process has to end: SIGINT, SIGTERM or SIGHUP.

SCons' handlers of these signals start no more work, and then wait for what runs. So this module
reads the signals beside them, from the descriptor to which Python writes each one. Code that waits
for a program also waits for `end_requested()`. The process does not wait for a thread that does
anything else for more than a moment, such as digesting gigabytes or waiting for another build's
lock.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

LIFE = "PHIBUILD_LIFE"
"""Names a descriptor whose other end closes when the process that runs this one ends."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE = 1.2
"""Seconds in which this process may end by itself."""
_STATUS = 2
"""SCons' own exit status after an interrupted build."""


class _Watch:
    """`requested` is a descriptor that becomes readable once this process has to end."""

    def __init__(self) -> None:
        self.signals, waker = os.pipe()
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self.requested, self._request = os.pipe()
        self._guard = threading.Lock()
        self._is_running = False

        # If another process of ours runs this one, the pipe closes when that process ends.
        life = os.environ.pop(LIFE, "")
        self.life = int(life) if life else -1
        if life:
            os.set_inheritable(self.life, False)

    def start(self) -> int:
        """Begin to read signals at the first call; return `requested`."""
        with self._guard:
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._read, daemon=True).start()
        return self.requested

    def _read(self) -> None:
        waiting = select.poll()
        waiting.register(self.signals, select.POLLIN)
        if self.life >= 0:
            waiting.register(self.life)
        is_requested = False
        while not is_requested:
            ready = {descriptor for descriptor, _ in waiting.poll()}
            if self.life in ready:  # SCons has to know, too
                waiting.unregister(self.life)
                os.kill(os.getpid(), signal.SIGTERM)
            if self.signals in ready:
                is_requested = os.read(self.signals, 1)[0] in _SIGNALS
        os.close(self._request)
        time.sleep(_PATIENCE)
        for folder in list(_scratch):
            shutil.rmtree(folder, ignore_errors=True)
        _leave(_STATUS, "phibuild: interrupted")


_watch: _Watch | None = None
_scratch: set[Path] = set()


def watch() -> None:
    """Called once by a process in which other code handles the signals. Until it does, SIGTERM and
    SIGHUP act as in `end_by_exception`. Only the main thread can do this."""
    global _watch
    if threading.current_thread() is threading.main_thread():
        _watch = _Watch()
        end_by_exception()


def end_by_exception() -> None:
    """Let SIGTERM and SIGHUP raise SystemExit in the main thread, so that half-written files are
    removed, as Ctrl-C raises KeyboardInterrupt."""

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup's stays ignored
            signal.signal(number, leave)


@contextlib.contextmanager
def status_at_exit() -> Iterator[None]:
    """Wrap what runs at exit: Python prints the traceback of an exception there, and ends with
    status 0."""
    try:
        yield
    except SystemExit as leaving:
        _leave(leaving.code if isinstance(leaving.code, int) else 1)
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT)


def _leave(status: int, message: str = "") -> NoReturn:
    def speak() -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            print(message, end="\n" if message else "", file=sys.stderr, flush=True)

    speaking = threading.Thread(target=speak, daemon=True)
    speaking.start()
    speaking.join(timeout=0.3)  # its reader may have stopped reading
    os._exit(status)


def end_requested() -> int | None:
    """A descriptor that becomes readable once this process has to end; None in a process where an
    exception says so."""
    return None if _watch is None else _watch.start()


@contextlib.contextmanager
def removed_at_the_end(folder: Path) -> Iterator[None]:
    """Remove this folder, too, if this process ends without unwinding."""
    _scratch.add(folder)
    try:
        yield
    finally:
        _scratch.discard(folder)
