"""Workers that misbehave: each ends in one clear error or does no harm, and blocks no build."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Project, Ran

Build = Callable[..., Ran]
WORKER = """\
import os, phiworker, sys, time
MESSAGES = int(os.environ["PHIBUILD_MESSAGES"])
def main(job):
    BODY
phiworker.run(main)
"""


@pytest.fixture
def build(project: Project) -> Build:
    """Build one artifact with a worker of this body."""

    def build(*body: str) -> Ran:
        project.write("worker.py", WORKER.replace("BODY", "\n    ".join(body)))
        project.sconstruct('env.Artifact("made", worker="worker.py", n=1)\n')
        return project.scons()

    return build


WRITE = 'job.output.write_text("made")'


@pytest.mark.parametrize(
    "stray",
    [
        *("b'stray\\n'", "b'no newline'", "b'[1]\\n'", "b'5\\n'", "b'null\\n'", "b'\\xff\\xfe\\n'"),
        *("b'\\0' * 100 + b'\\n'", "b'[' * 200000 + b'\\n'", "b'{\"future\": 1}\\n'"),
        'b\'{"progress": 1e999, "text": "\\\\ud800"}\\n\'',
    ],
)
def test_stray_lines_do_no_harm(build: Build, stray: str) -> None:
    ran = build(f"os.write(MESSAGES, {stray})", "assert job.recall(['ab' * 32]) == {}", WRITE)
    assert ran.names("built") == ["made"], ran.text


@pytest.mark.parametrize(
    "line",
    [
        *(b'{"recall": 5}', b'{"progress": "half", "text": 1}', b'stray{"recall": []}'),
        *(b'{"written": [0, "/dev/zero", "x"]}', b'{"error": 1}'),
    ],
)
def test_messages_of_another_form_end_the_worker(build: Build, line: bytes) -> None:
    ran = build(f"os.write(MESSAGES, {line!r} + b'\\n')", "job.recall(['ab' * 32])", WRITE)
    assert ran.status == 2
    assert "[PHI407] worker sent what is not a message" in ran.text
    assert "Traceback" not in ran.text


def test_the_workers_own_error_is_shown_after_stray_lines(build: Build) -> None:
    ran = build("os.write(MESSAGES, b'[]\\n')", 'raise phiworker.WorkerError("it is empty")')
    assert "[PHI401] it is empty" in ran.text


def test_a_false_digest_is_an_error(build: Build) -> None:
    ran = build(WRITE, f"job.written({hashlib.sha256(b'other').hexdigest()!r})")
    assert ran.status == 2
    assert "[PHI407] the worker reported a digest of . in its output that is false" in ran.text
    ran = build(WRITE, f"job.written({hashlib.sha256(b'made').hexdigest()!r})")
    assert ran.names("built") == ["made"]


def test_a_digest_of_what_is_not_a_file_does_no_harm(build: Build) -> None:
    ran = build('os.mkfifo(job.output.parent / "output")', "job.written('ab' * 32)")
    assert "[PHI403]" in ran.text
    assert "Traceback" not in ran.text


def test_only_the_end_of_a_long_log_is_read(build: Build) -> None:
    ran = build(
        "for _ in range(200): sys.stdout.write('x' * (1 << 20) + '\\n')",
        "print('the last words')",
        "sys.exit(3)",
    )
    assert ran.status == 2
    assert "the last words" in ran.text
    assert len(ran.text) < 100_000


def test_a_daemon_does_not_hold_the_build(build: Build) -> None:
    ran = build(
        "if os.fork() == 0:",
        "    os.setsid()",
        "    if os.fork() == 0: time.sleep(600)",
        "    os._exit(0)",
        WRITE,
    )
    assert ran.names("built") == ["made"]


def test_a_worker_whose_supervisor_is_killed_is_one_clear_error(build: Build) -> None:
    ran = build("os.kill(os.getppid(), 9)", "time.sleep(600)")
    assert "[PHI402] worker: the process that supervises workers was killed" in ran.text
    assert "Traceback" not in ran.text


def test_threads_are_the_cores_that_the_build_may_use(project: Project) -> None:
    project.write("worker.py", WORKER.replace("BODY", "job.output.write_text(str(job.threads))"))
    project.sconstruct('env.Artifact("made", worker="worker.py", n=1)\n')
    ran = project.run("taskset", "-c", "0", sys.executable, "-P", "-m", "SCons", "-Q")
    assert ran.names("built") == ["made"], ran.text
    assert (project.folder / "made").read_text() == "1"
