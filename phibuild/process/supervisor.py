"""Runs programs for a build, one after the other, and ends all their processes.

A script: `phibuild.process.supervised` starts it under a bare interpreter (`-I -S`), in a session
of its own, with a socket to the build as standard input. Standard library only.

A request is a header (`HEADER`: the lengths of its two parts) with three descriptors (log,
messages, answers), then the folder and the command, then the environment, each joined by NUL. The
answer is `ANSWER`: the number of an error that kept the program from starting, its wait status, its
peak resident memory. The build abandons a program by closing its end, which the kernel also does
when the build dies, however it dies.

On Linux all descendants of the program become our children when their parents end, even those that
left its session, so that each can be found and killed. Elsewhere they are killed by their process
group, which a daemon can leave.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence

HEADER = struct.Struct("!II")
ANSWER = struct.Struct("!iiQ")
MESSAGES, ANSWERS = 3, 4
"""The descriptors by which a program writes messages and reads answers."""

_IS_LINUX = sys.platform == "linux"
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_PATIENCE = 5.0
"""Seconds to wait for killed processes: one that waits for a disk ends only afterwards."""
_MOST_DESCRIPTORS = 256


def main() -> None:
    """Serve requests until the build closes its end."""
    build = socket.socket(fileno=0)
    os.set_inheritable(0, False)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    if _IS_LINUX:
        prctl(_SET_CHILD_SUBREAPER, 1)
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        header, descriptors, _, _ = socket.recv_fds(build, HEADER.size, 3)
        if len(header) < HEADER.size:
            return
        place, environment = (receive(build, length) for length in HEADER.unpack(header))
        folder, *command = place.split(b"\0")
        pairs = (pair.partition(b"=") for pair in environment.split(b"\0") if pair)
        answer = run(
            build, woken, folder, command, {name: value for name, _, value in pairs}, descriptors
        )
        build.sendall(ANSWER.pack(*answer))


def receive(build: socket.socket, length: int) -> bytes:
    """That many bytes."""
    content = b""
    while len(content) < length:
        part = build.recv(length - len(content))
        if not part:
            os._exit(0)
        content += part
    return content


def run(
    build: socket.socket,
    woken: int,
    folder: bytes,
    command: list[bytes],
    environment: dict[bytes, bytes],
    descriptors: Sequence[int],
) -> tuple[int, int, int]:
    """Run the program to its end, and end the processes that it left behind."""
    failure, failed = os.pipe()
    program = os.fork()
    if program == 0:
        become(folder, command, environment, descriptors, failed)
    for descriptor in (*descriptors, failed):
        os.close(descriptor)
    with open(failure, "rb") as stream:
        error = int(stream.read() or b"0")
    waiting = select.poll()
    waiting.register(build, select.POLLIN)
    waiting.register(woken, select.POLLIN)
    while True:
        ended = reap(program)
        if ended is not None:
            end_all(program)
            return (error, *ended)
        ready = {descriptor for descriptor, _ in waiting.poll()}
        if build.fileno() in ready:  # it closed its end: nothing else is sent while we work
            end_all(program)
            os._exit(0)
        if woken in ready:
            os.read(woken, 4096)


def become(
    folder: bytes,
    command: list[bytes],
    environment: dict[bytes, bytes],
    descriptors: Sequence[int],
    failed: int,
) -> None:
    """In the new process: become the program. Never returns."""
    try:
        supervisor = os.getppid()
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        if _IS_LINUX:
            prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(1)
        null = os.open(os.devnull, os.O_RDONLY)
        log, messages, answers, failed = (above(number) for number in (*descriptors, failed))
        for descriptor, place in (
            *((null, 0), (log, 1), (log, 2)),
            *((messages, MESSAGES), (answers, ANSWERS)),
        ):
            os.dup2(descriptor, place)
        os.closerange(ANSWERS + 1, failed)
        os.closerange(failed + 1, _MOST_DESCRIPTORS)
        os.chdir(folder)
        os.execve(command[0], command, environment)
    except OSError as error:
        os.write(failed, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def above(descriptor: int) -> int:
    """A copy with a number beyond those that the program gets; closed when it starts."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 16)


def reap(program: int) -> tuple[int, int] | None:
    """Collect all children that have ended; the wait status and peak memory of the program."""
    result = None
    while True:
        try:
            ended, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return result
        if ended == 0:
            return result
        if ended == program:
            result = (status, usage.ru_maxrss * (1024 if _IS_LINUX else 1))


def end_all(group: int) -> None:
    """Kill the program's process group and all its descendants, and wait until they are gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for child in children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            time.sleep(0.001)


def children() -> list[int]:
    """Our children; none where the system does not list them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return _children_by_stat()


def _children_by_stat() -> list[int]:
    """The same where the kernel was built without lists of children."""
    numbers = []
    names = os.listdir("/proc") if os.path.isdir("/proc") else []
    for name in filter(str.isdigit, names):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue
        if parent == os.getpid():
            numbers.append(int(name))
    return numbers


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
    os._exit(0)
