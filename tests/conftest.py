"""Shared by all tests: their store, and projects."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

from tests.own_store import store_of_tests
from tests.skips import SkipReport

HEADER = """\
from phibuild.scons import phibuild
DefaultEnvironment(tools=[])
env = Environment(tools=[phibuild])
"""

WORKER = """\
import phiworker, time, pathlib
def main(job):
    job.progress(0.5, "half way")
    text = job.inputs["text"].read_text()
    if text.startswith("fail"):
        raise phiworker.WorkerError("the text says fail", hint="write another", code="PHI401")
    if text.startswith("wait"):
        pathlib.Path(text.split()[1]).touch()
        time.sleep(60)
    job.output.mkdir()
    (job.output / "copy.txt").write_text(text * job.recipe["times"])
    (job.output / "sub").mkdir()
    (job.output / "sub" / "more.txt").write_text("more")
phiworker.run(main)
"""
BUILD = 'a = env.Artifact("dist/copy", worker="twice.py", inputs={"text": "in.txt"}, times=2)\n'


settings.register_profile("phibuild", print_blob=True)  # how to repeat an example that failed
settings.load_profile("phibuild")


@dataclass(frozen=True)
class Ran:
    """How a command ended: exit status, and standard output and error together."""

    status: int
    text: str

    def names(self, word: str) -> list[str]:
        """The targets after lines that begin with `word` ("built", "recalled", "working")."""
        lines = (line.split() for line in self.text.splitlines())
        return [words[1] for words in lines if len(words) > 1 and words[0] == word]

    @property
    def actions(self) -> list[str]:
        """The actions that worked, in the order in which they began."""
        lines = (line.split() for line in self.text.splitlines())
        return [
            words[2].strip("(),")
            for words in lines
            if len(words) > 2 and words[0] == "working" and words[1] not in ("toolchain", "read")
        ]


@dataclass(frozen=True)
class Project:
    """A folder with an SConstruct, built by the real SCons in a process of its own."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def sconstruct(self, text: str) -> None:
        """Write the SConstruct: the usual head, then this."""
        self.write("SConstruct", HEADER + text)

    def scons(self, *arguments: str, **environment: str) -> Ran:
        """Run SCons."""
        return self.run(sys.executable, "-P", "-m", "SCons", "-Q", *arguments, **environment)

    def phibuild(self, *arguments: str, **environment: str) -> Ran:
        """Run the phibuild command."""
        return self.run(sys.executable, "-P", "-m", "phibuild.cli", *arguments, **environment)

    def run(self, *command: str, **environment: str) -> Ran:
        """Run a command in the project's folder."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """An empty project with an empty store of its own: for what needs no toolchain."""
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, {"PHIBUILD_STORE": str(tmp_path / "store")})


@pytest.fixture
def copying(project: Project) -> Project:
    """A project with one artifact, a folder, made from a text."""
    project.write("twice.py", WORKER)
    project.write("in.txt", "hello ")
    project.sconstruct(BUILD)
    return project


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[[str], Project]:
    """Projects that share the store of the tests, whose toolchains are installed once: each test
    uses checkpoints of its own, so that it finds none of another test's results."""

    def make(name: str = "project") -> Project:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        return Project(folder)

    return make


def pytest_addoption(parser: pytest.Parser) -> None:
    """What `.ci/run` passes."""
    parser.addoption(
        "--strict-skips",
        action="store_true",
        help="fail if a test is skipped for a reason that tests/allowed_skips.toml does not list",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the store, which xdist's workers inherit; report skips once, where they report to."""
    if not hasattr(config, "workerinput"):
        os.environ["PHIBUILD_STORE"] = str(store_of_tests())
        config.pluginmanager.register(SkipReport(config), "skip-report")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Benchmarks have the machine for themselves, and print."""
    return 0 if "bench" in (config.option.markexpr or "") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Benchmarks run only when requested with `-m bench`."""
    if "bench" in (config.option.markexpr or ""):
        return
    chosen = [item for item in items if item.get_closest_marker("bench") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
