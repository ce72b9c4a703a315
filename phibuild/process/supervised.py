"""Programs that run under a supervisor: however they or we end, none of their processes remains."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from phibuild.process import ending, supervisor

LONGEST_MESSAGE = 64 << 20
"""Bytes of one line. A worker recalls all pieces of a model at once, some hundred bytes each."""
LONGEST_LOG = 64 << 20
"""Bytes of a program's log. Of a longer one, the last _KEPT bytes are kept."""
_KEPT = 1 << 20
_CHECK_LOG = 0.5
"""Seconds between two checks of the log's size."""
_BLOCK = 1 << 20


class ProcessExit(NamedTuple):
    """How a program ended: exit status (negative: the signal that killed it), wall time in seconds,
    peak resident memory in bytes of the largest process among it and its waited-for children."""

    status: int
    seconds: float
    peak_bytes: int


class Interrupted(Exception):
    """This process had to end while the program ran, which was killed."""


class MessageTooLong(Exception):
    """A program wrote more than LONGEST_MESSAGE bytes without a newline; it was killed."""


def run_logged(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str],
    log: Path,
    on_message: Callable[[bytes], bytes] = lambda _: b"",
) -> ProcessExit:
    """Run a program with its output in `log`, and end the processes that it leaves behind. Each
    line that it writes to the file descriptor PHIBUILD_MESSAGES goes to `on_message`; it reads the
    answer from the descriptor PHIBUILD_ANSWERS. If `on_message` raises, the program is killed and
    the exception passed on.
    """
    start = time.monotonic()
    served = _free_supervisor()
    reader, writer = os.pipe()
    asker, answerer = os.pipe()
    with contextlib.ExitStack() as open_here:
        for descriptor in (reader, answerer):
            os.set_blocking(descriptor, False)
            open_here.callback(os.close, descriptor)
        try:
            with log.open("ab") as output:
                served.send(command, folder, environment, (output.fileno(), writer, asker))
        except BaseException:
            served.end()
            raise
        finally:
            os.close(writer)
            os.close(asker)
        try:
            status, peak = served.wait(_Messages(reader, answerer, on_message), _Log(log))
        except BaseException:
            served.end()
            raise
    _idle.append(served)
    return ProcessExit(status, time.monotonic() - start, peak)


class _Messages:
    """The lines that a program writes to us, and the answers that it has not read yet."""

    def __init__(self, reader: int, answerer: int, on_message: Callable[[bytes], bytes]) -> None:
        self.reader, self.answerer = reader, answerer
        self.unread, self.ended = b"", False
        self._on_message = on_message
        self._parts: list[bytes] = []
        self._length = 0

    def read(self) -> bool:
        """Read what is there; False if there is nothing now, or at the end."""
        try:
            block = os.read(self.reader, _BLOCK)
        except BlockingIOError:
            return False
        if not block:
            self.ended = True
        *lines, rest = block.split(b"\n")
        for line in lines:
            whole = b"".join((*self._parts, line))
            self._parts, self._length = [], 0
            self.unread += self._on_message(whole)
        self._parts.append(rest)
        self._length += len(rest)
        if self._length > LONGEST_MESSAGE:
            raise MessageTooLong
        return bool(block)

    def write(self) -> None:
        """Write as much of the answers as fits into the pipe."""
        try:
            self.unread = self.unread[os.write(self.answerer, self.unread) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:  # it reads no more, or has ended: its status says why
            self.unread = b""


class _Log:
    """The file that a program appends its output to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next_check = 0.0

    def keep_short(self) -> None:
        """Cut off the start of a log that is too long: a program that prints in a loop would fill
        the disk."""
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + _CHECK_LOG
        with contextlib.suppress(OSError):
            size = self._path.stat().st_size
            if size <= LONGEST_LOG:
                return
            with self._path.open("r+b") as file:
                file.seek(size - _KEPT)
                end = file.read(_KEPT)
                file.truncate(0)
                file.seek(0)
                file.write(b"(%d earlier bytes were cut off)\n" % (size - _KEPT) + end)


class _Supervisor:
    """A process that runs phibuild.process.supervisor, for one program after the other."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        # Python itself may need this variable.
        named = {name: text for name, text in os.environ.items() if name == "LD_LIBRARY_PATH"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", supervisor.__file__],
                cwd="/",
                env=named,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def send(
        self,
        command: Sequence[str | Path],
        folder: Path,
        environment: Mapping[str, str],
        descriptors: Sequence[int],
    ) -> None:
        """Start the program."""
        pairs = {
            **environment,
            "PHIBUILD_MESSAGES": str(supervisor.MESSAGES),
            "PHIBUILD_ANSWERS": str(supervisor.ANSWERS),
        }
        place = b"\0".join(os.fsencode(word) for word in (folder, *command))
        named = b"\0".join(os.fsencode(f"{name}={text}") for name, text in pairs.items())
        header = supervisor.HEADER.pack(len(place), len(named))
        socket.send_fds(self._socket, [header], descriptors)
        self._socket.sendall(place + named)

    def wait(self, messages: _Messages, log: _Log) -> tuple[int, int]:
        """Pass messages until the program has ended; its exit status and peak memory in bytes."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        waiting.register(messages.reader, select.POLLIN)
        requested = ending.end_requested()
        if requested is not None:
            waiting.register(requested, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in waiting.poll(_CHECK_LOG * 1000)}
            log.keep_short()
            if requested in ready:
                raise Interrupted
            if messages.reader in ready:
                messages.read()
                if messages.ended:
                    waiting.unregister(messages.reader)
            if messages.unread:
                messages.write()
                if messages.unread:
                    waiting.register(messages.answerer, select.POLLOUT)
                elif messages.answerer in ready:
                    waiting.unregister(messages.answerer)
            if self._socket.fileno() in ready:
                answer = self._socket.recv(supervisor.ANSWER.size, socket.MSG_WAITALL)
                while messages.read():
                    pass
                return _status(answer)

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """Let it kill its program, and wait until it has ended."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)


def _status(answer: bytes) -> tuple[int, int]:
    if len(answer) < supervisor.ANSWER.size:
        raise ChildProcessError("the process that supervises workers was killed")
    error, status, peak = supervisor.ANSWER.unpack(answer)
    if error:
        raise OSError(error, os.strerror(error))
    return os.waitstatus_to_exitcode(status), peak


_idle: list[_Supervisor] = []


def _free_supervisor() -> _Supervisor:
    while True:
        try:
            served = _idle.pop()
        except IndexError:
            return _Supervisor()
        if served.is_alive():
            return served
        served.end()


@atexit.register
def _end_idle() -> None:
    with ending.status_at_exit():
        while _idle:
            _idle.pop().end()
