"""Signals that ask a build to end: it ends at once, whatever it is doing, and leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.processes import are_gone, processes_with

WORKER = """\
import phiworker, os, pathlib, subprocess, time
def main(job):
    mark = str(job.inputs["text"].resolve())
    sleep = ["sh", "-c", 'sleep 600; echo "$0"', mark]
    subprocess.Popen(sleep)
    subprocess.Popen(sleep, start_new_session=True)
    job.progress(0.5, "half way")
    (job.scratch / "large").write_bytes(bytes(1 << 20))
    if not job.inputs["text"].read_text().startswith("go"):
        time.sleep(600)
    job.output.write_text("made")
phiworker.run(main)
"""
SCONSTRUCT = "".join(
    f'env.Artifact("dist/{name}", worker="lasting.py", inputs={{"text": "{name}.txt"}})\n'
    for name in ("one", "two")
)
SCONS = ("-m", "SCons", "-Q")
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@pytest.fixture
def lasting(project: Project) -> Project:
    """Two artifacts; workers run for ten minutes, and so do what they start."""
    project.write("lasting.py", WORKER)
    project.write("one.txt", "one")
    project.write("two.txt", "two")
    project.sconstruct(SCONSTRUCT)
    return project


def start(project: Project, *command: str) -> subprocess.Popen[str]:
    """A build in a session of its own, whose signals are as a shell leaves them."""
    return subprocess.Popen(
        [sys.executable, "-P", *command],
        cwd=project.folder,
        env={**os.environ, **project.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def working(project: Project, build: subprocess.Popen[str], count: int = 1) -> None:
    """Wait until so many workers have started what they start."""
    while len(processes_with(str(project.folder / "one.txt"))) < 2 * count:
        assert build.poll() is None, build.communicate()[0]
        time.sleep(0.02)


def workspaces(project: Project) -> list[Path]:
    """What is left of workspaces."""
    work = Path(project.environment["PHIBUILD_STORE"]) / "work"
    return [path for path in work.glob("*") if path.is_dir()]


def waits_for_a_lock(build: subprocess.Popen[str]) -> bool:
    """Whether the kernel lists the process as waiting for a lock."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("-> FLOCK" in line and str(build.pid) in line.split() for line in lines)


def ends_at_once(build: subprocess.Popen[str]) -> str:
    """The output until the end of a build whose workers would take ten minutes."""
    text, _ = build.communicate(timeout=60)
    assert build.returncode in (2, 130, 129, 143), text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    "command",
    [(*SCONS, "-j1"), (*SCONS, "-j2"), ("-m", "phibuild.cli", "build", "-j2")],
    ids=["scons", "scons-j2", "phibuild"],
)
def test_a_signal_ends_a_build_and_all_that_it_started(
    lasting: Project, number: signal.Signals, command: tuple[str, ...]
) -> None:
    build = start(lasting, *command)
    working(lasting, build)
    build.send_signal(number)
    text = ends_at_once(build)
    assert "[PHI406]" in text
    assert are_gone(str(lasting.folder))
    assert workspaces(lasting) == []
    for name in ("one", "two"):
        lasting.write(f"{name}.txt", f"go {name}")
    assert lasting.scons().names("built") == ["dist/one", "dist/two"]


def test_ctrl_c_at_a_terminal_ends_a_build(lasting: Project) -> None:
    """The whole foreground group gets the signal, and each process only once."""
    build = start(lasting, "-m", "phibuild.cli", "build", "-j2")
    working(lasting, build)
    os.killpg(build.pid, signal.SIGINT)
    assert "[PHI406]" in ends_at_once(build)
    assert are_gone(str(lasting.folder))
    assert workspaces(lasting) == []


def test_a_build_ends_when_the_command_that_runs_it_is_killed(lasting: Project) -> None:
    build = start(lasting, "-m", "phibuild.cli", "build", "-j2")
    working(lasting, build)
    build.kill()
    text, _ = build.communicate(timeout=60)  # SCons has its pipe
    assert "[PHI406]" in text
    assert are_gone(str(lasting.folder))
    assert workspaces(lasting) == []


def test_a_build_that_waits_for_another_ends_too(lasting: Project, tmp_path: Path) -> None:
    """No handler of a signal gets a thread out of waiting for a lock."""
    other = Project(tmp_path / "other", lasting.environment)
    other.folder.mkdir()
    for name in ("SConstruct", "lasting.py", "one.txt", "two.txt"):
        other.write(name, (lasting.folder / name).read_text())
    first = start(lasting, *SCONS, "dist/one")
    working(lasting, first)
    second = start(other, *SCONS, "dist/one")
    while not waits_for_a_lock(second):
        time.sleep(0.05)
    second.send_signal(signal.SIGTERM)
    ends_at_once(second)
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    ends_at_once(first)


def test_a_build_whose_output_nobody_reads_ends_too(lasting: Project) -> None:
    """Its main thread is stuck in a write to a pipe that is full."""
    lasting.sconstruct(
        "def flood(target, source, env):\n    while True: print('x' * 4096)\n"
        f"{SCONSTRUCT}flooded = env.Command('flooded', 'one.txt', flood)\nAlwaysBuild(flooded)\n"
        "Depends('flooded', 'dist/one')\n"
    )
    lasting.write("one.txt", "go one")
    build = start(lasting, *SCONS, "flooded")
    while not (lasting.folder / "dist" / "one.phi.json").exists():
        assert build.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    build.send_signal(signal.SIGTERM)
    assert build.wait(timeout=60) == 2
    build.communicate()


@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_at_any_moment_leaves_nothing_wrong(
    lasting: Project, number: signal.Signals
) -> None:
    moments = random.Random(number)
    for _ in range(6):
        lasting.write("one.txt", f"one {moments.random()}")
        build = start(lasting, *SCONS, "-j2")
        time.sleep(moments.uniform(0, 0.8))
        build.send_signal(number)
        text, _ = build.communicate(timeout=60)
        assert build.returncode != 0
        assert are_gone(str(lasting.folder)), text
        if number != signal.SIGKILL:
            assert workspaces(lasting) == []
    for name in ("one", "two"):
        lasting.write(f"{name}.txt", f"go {name}")
    assert lasting.scons().names("built") == ["dist/one", "dist/two"]
    assert lasting.scons().text == "scons: `.' is up to date.\n"


@pytest.mark.parametrize(
    "during",
    [
        "wait()",
        "import phibuild.scons.project_state as state\n"
        "state.write_project_state = lambda *_, **__: wait()",
    ],
    ids=["reading", "describing"],
)
def test_a_plan_ends_by_a_signal(lasting: Project, during: str) -> None:
    lasting.sconstruct(
        "import pathlib, time\n"
        "def wait():\n    pathlib.Path('here').touch()\n    time.sleep(600)\n"
        f"{SCONSTRUCT}{during}\n"
    )
    plan = start(lasting, "-m", "phibuild.cli", "plan")
    while not (lasting.folder / "here").exists():
        time.sleep(0.05)
    plan.send_signal(signal.SIGTERM)
    text, _ = plan.communicate(timeout=60)
    assert plan.returncode == 143
    assert "Traceback" not in text
