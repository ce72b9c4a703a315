"""Skipped tests: what the machine lacks is summed up in the last lines of a run, with the cure, and
`--strict-skips` fails a run for any skip that `allowed_skips.toml` does not list."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.machine import cure, need_of

ALLOWED = Path(__file__).with_name("allowed_skips.toml")
MISSING = re.compile(r"(\S+) is missing: ")


@dataclass(frozen=True)
class Skip:
    """A test that did not run, and the reason that it gave."""

    test: str
    reason: str


@dataclass(frozen=True)
class Allowed:
    """A reason for a skip that is accepted, and why it is."""

    skip: str
    why: str


def allowed_skips() -> tuple[Allowed, ...]:
    """The list, which is short."""
    return tuple(Allowed(**skip) for skip in tomllib.loads(ALLOWED.read_text("utf-8"))["allowed"])


def refused(skips: list[Skip], allowed: tuple[Allowed, ...]) -> list[Skip]:
    """Those for which the list has no reason."""
    reasons = {skip.skip for skip in allowed}
    return [skip for skip in skips if skip.reason not in reasons]


def summary(skips: list[Skip]) -> Iterator[str]:
    """How many tests were skipped for want of what, and the command that cures it."""
    counted = Counter(match[1] for skip in skips if (match := MISSING.match(skip.reason)))
    if not counted:
        return
    tests = "1 test was" if counted.total() == 1 else f"{counted.total()} tests were"
    yield f"{tests} skipped, since this machine lacks"
    for name, count in counted.most_common():
        yield f"{count:5}  {name} ({need_of(name).why})"
    packages = dict.fromkeys(name for name in counted for name in need_of(name).packages)
    if packages:
        yield f"To run them: {cure(tuple(packages))}"


class SkipReport:
    """The plugin: it collects what was skipped and reports it when all else was said."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.skips: list[Skip] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self._add(report.nodeid, report.longrepr[2])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self._add(report.nodeid, report.longrepr[2])

    def _add(self, test: str, reason: str) -> None:
        self.skips.append(Skip(test, reason.removeprefix("Skipped: ")))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        refusals = self._refusals()
        if refusals and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield
        writer = self.config.get_terminal_writer()
        for line in (*refusals, *summary(self.skips)):
            writer.line(line)

    def _refusals(self) -> list[str]:
        if not self.config.getoption("strict_skips"):
            return []
        skips = refused(self.skips, allowed_skips())
        heading = f"--strict-skips: {ALLOWED.name} has no reason for"
        return [heading, *(f"  {skip.test}: {skip.reason}" for skip in skips)] if skips else []
