"""Supervised programs: messages in both directions, and nothing that outlives the run."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phibuild.process import supervised, supervisor
from phibuild.process.supervised import MessageTooLong, ProcessExit, run_logged
from tests.processes import are_gone, processes_with

LEAVING = """
import os, subprocess, sys, time
subprocess.Popen(["sleep", MARK])
subprocess.Popen(["sleep", MARK], start_new_session=True)
if os.fork() == 0:  # a daemon that holds the log and the pipes
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", MARK])
    os._exit(0)
time.sleep(0.1)
"""


@pytest.fixture
def mark() -> str:
    """The seconds that this test's processes would sleep: a number that no others have."""
    return f"{600 + os.getpid() % 1000}.{time.time_ns()}"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., ProcessExit]:
    """Run a Python program; its output is in log.txt."""

    def run(program: str, *, environment: dict[str, str] | None = None, **more: Any) -> ProcessExit:
        return run_logged(
            [sys.executable, "-c", program],
            folder=tmp_path,
            environment=environment or {},
            log=tmp_path / "log.txt",
            **more,
        )

    return run


def test_status_output_and_memory_are_known(
    run: Callable[..., ProcessExit], tmp_path: Path
) -> None:
    outcome = run("import sys; a = bytearray(50 << 20); print('said'); sys.exit(7)")
    assert outcome.status == 7
    assert (tmp_path / "log.txt").read_text() == "said\n"
    assert 50e6 < outcome.peak_bytes < 200e6
    killed = run("import os; os.kill(os.getpid(), 9)")
    assert killed.status == -signal.SIGKILL


def test_a_program_that_cannot_start_is_an_error_of_the_system(tmp_path: Path) -> None:
    for program in (tmp_path / "none", tmp_path):
        with pytest.raises(OSError) as raised:
            run_logged([program], folder=tmp_path, environment={}, log=tmp_path / "log.txt")
        assert raised.value.errno in (errno.ENOENT, errno.EACCES)


def test_one_supervisor_serves_one_program_after_the_other(run: Callable[..., ProcessExit]) -> None:
    run("pass")
    (first,) = supervised._idle
    run("pass")
    assert supervised._idle == [first]


def test_a_supervisor_that_was_killed_is_replaced(run: Callable[..., ProcessExit]) -> None:
    run("pass")
    (first,) = supervised._idle
    first._process.kill()
    first._process.wait()
    assert run("pass").status == 0


def test_what_a_program_leaves_behind_ends_with_it(
    run: Callable[..., ProcessExit], mark: str
) -> None:
    assert run(LEAVING.replace("MARK", repr(mark))).status == 0
    assert processes_with(mark) == []


def test_an_exception_while_listening_ends_the_program(
    run: Callable[..., ProcessExit], mark: str
) -> None:
    def fail(line: bytes) -> bytes:
        raise KeyError(line)

    program = LEAVING + "os.write(int(os.environ['PHIBUILD_MESSAGES']), b'x\\n'); time.sleep(600)"
    with pytest.raises(KeyError):
        run(program.replace("MARK", repr(mark)), on_message=fail)
    assert processes_with(mark) == []


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, -2)]
)
def test_a_build_that_is_ended_takes_all_descendants_along(
    tmp_path: Path, mark: str, number: signal.Signals, status: int
) -> None:
    program = (LEAVING + "time.sleep(600)").replace("MARK", repr(mark))
    build = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, pathlib; from phibuild.process.supervised import run_logged\n"
            "from phibuild.process.ending import end_by_exception; end_by_exception()\n"
            "folder = pathlib.Path(sys.argv[1])\n"
            "run_logged([sys.executable, '-c', sys.argv[2]], folder=folder, environment={},"
            " log=folder / 'log.txt')",
            *(tmp_path, program),
        ],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    while len(processes_with(mark)) < 5:  # build, program and what it leaves
        assert build.poll() is None
        time.sleep(0.01)
    os.killpg(build.pid, number)
    assert build.wait() == status
    assert are_gone(mark)


def test_messages_are_answered_however_long(run: Callable[..., ProcessExit]) -> None:
    """Neither side may wait for the other to read first."""
    heard = []

    def answer(line: bytes) -> bytes:
        heard.append(line)
        return b"a" * len(line) + b"\n" if line else b""

    outcome = run(
        "import os\n"
        "line = b'm' * 1000000 + b'\\n'\n"
        "for _ in range(3): os.write(int(os.environ['PHIBUILD_MESSAGES']), line)\n"
        "answers = open(int(os.environ['PHIBUILD_ANSWERS']), 'rb')\n"
        "assert [len(answers.readline()) for _ in range(3)] == [1000001] * 3\n"
        "os.write(int(os.environ['PHIBUILD_MESSAGES']), b'\\xff\\n\\nlast\\nunfinished')",
        on_message=answer,
    )
    assert outcome.status == 0
    assert heard == [b"m" * 1_000_000] * 3 + [b"\xff", b"", b"last"]


def test_a_program_that_reads_no_answer_does_not_hold_the_build(
    run: Callable[..., ProcessExit],
) -> None:
    outcome = run(
        "import os; os.write(int(os.environ['PHIBUILD_MESSAGES']), b'm\\n')",
        on_message=lambda _: b"a" * (1 << 20),
    )
    assert outcome.status == 0


def test_a_line_without_an_end_is_refused(
    run: Callable[..., ProcessExit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "LONGEST_MESSAGE", 1 << 20)
    with pytest.raises(MessageTooLong):
        run(
            "import os\nwhile True: os.write(int(os.environ['PHIBUILD_MESSAGES']), b'm' * 65536)",
        )


def test_the_start_of_a_log_that_becomes_too_long_is_given_up(
    run: Callable[..., ProcessExit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "LONGEST_LOG", 4 << 20)
    line = "x" * 99
    run(
        f"import time\nfor n in range(300):\n  print(({line!r} + chr(10)) * 1000, end='')"
        "\n  time.sleep(0.005)\nprint('last')"
    )  # 30 MB in all
    log = (tmp_path / "log.txt").read_bytes()
    assert len(log) < 24 << 20
    assert log.startswith(b"(")
    assert log.endswith(b"last\n")


def test_nothing_of_ours_reaches_a_program_but_what_is_named(
    run: Callable[..., ProcessExit], tmp_path: Path
) -> None:
    leaked, _ = os.pipe()
    os.set_inheritable(leaked, True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        run(
            "import os, signal\n"
            "print(sorted(os.listdir('/proc/self/fd'))[:-1])\n"
            "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
            "print(sorted(name for name in os.environ if name != 'LC_CTYPE'))\n"
            "print(os.readlink('/proc/self/fd/0'), os.getcwd())",
            environment={"MARK": "1"},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        os.close(leaked)
    assert (tmp_path / "log.txt").read_text().splitlines() == [
        "['0', '1', '2', '3', '4']",
        "set()",
        "['MARK', 'PHIBUILD_ANSWERS', 'PHIBUILD_MESSAGES']",
        f"/dev/null {tmp_path}",
    ]


def test_programs_run_side_by_side(run: Callable[..., ProcessExit], tmp_path: Path) -> None:
    """Each has a supervisor of its own: the end of one is not that of the other."""
    folders = [tmp_path / str(number) for number in range(4)]
    ended: list[ProcessExit] = []

    def run_sleeper(folder: Path) -> None:
        folder.mkdir()
        ended.append(
            run_logged(
                ["/bin/sh", "-c", f"sleep 0.{folder.name}; echo {folder.name}"],
                folder=folder,
                environment={},
                log=folder / "log.txt",
            )
        )

    threads = [threading.Thread(target=run_sleeper, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.status for outcome in ended] == [0] * 4
    assert [(folder / "log.txt").read_text() for folder in folders] == ["0\n", "1\n", "2\n", "3\n"]


def test_children_are_found_where_the_kernel_does_not_list_them() -> None:
    children = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    try:
        for numbers in (supervisor.children(), supervisor._children_by_stat()):
            assert {child.pid for child in children} <= set(numbers)
    finally:
        for child in children:
            child.kill()
            child.wait()
