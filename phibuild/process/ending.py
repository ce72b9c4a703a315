"""Whether this process is asked to end: SIGINT, SIGTERM or SIGHUP.

SCons' handlers of these signals keep it from starting more work, and then it waits for what runs.
So we look at the signals beside them, through the descriptor that Python writes each one to. Who
waits for a program also waits for `asked()`. A thread that does anything else for more than a
moment, such as digesting gigabytes or waiting for another build's lock, is not waited for.
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
"""Names a descriptor that is closed at its other end when the process that runs this one ends."""
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

        # Where another process of ours runs this one, the end of the pipe is its end.
        life = os.environ.pop(LIFE, "")
        self.life = int(life) if life else -1
        if life:
            os.set_inheritable(self.life, False)

    def start(self) -> int:
        """Begin to look, at the first call; `asked`."""
        with self._guard:
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._look, daemon=True).start()
        return self.asked

    def _look(self) -> None:
        waiting = select.poll()
        waiting.register(self.signals, select.POLLIN)
        if self.life >= 0:
            waiting.register(self.life)
        is_asked = False
        while not is_asked:
            ready = {descriptor for descriptor, _ in waiting.poll()}
            if self.life in ready:  # SCons has to hear of it, too
                waiting.unregister(self.life)
                os.kill(os.getpid(), signal.SIGTERM)
            if self.signals in ready:
                is_asked = os.read(self.signals, 1)[0] in _SIGNALS
        os.close(self._asking)
        time.sleep(_PATIENCE)
        for folder in list(_scratch):
            shutil.rmtree(folder, ignore_errors=True)
        _leave(_STATUS, "phibuild: interrupted")


_watch: _Watch | None = None
_scratch: set[Path] = set()


def watch() -> None:
    """Called once by a process in which somebody else handles the signals. As long as nobody does,
    SIGTERM and SIGHUP end it as `end_by_exception` says. Only the main thread can do this."""
    global _watch
    if threading.current_thread() is threading.main_thread():
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


def _leave(status: int, last_words: str = "") -> NoReturn:
    def speak() -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            print(last_words, end="\n" if last_words else "", file=sys.stderr, flush=True)

    speaking = threading.Thread(target=speak, daemon=True)
    speaking.start()
    speaking.join(timeout=0.3)  # whoever should read it may have stopped reading
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
