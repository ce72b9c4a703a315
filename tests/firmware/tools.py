"""Programs and libraries of the machine. A test that needs a missing one is skipped, with the
command that installs it. `tests/machine.toml` lists them all."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.machine import HERE, cure, need_of


def needed_tool(name: str) -> str:
    """The path of a program; without it the test is skipped."""
    needed_library(name)
    return shutil.which(name) or name


def needed_library(name: str) -> None:
    """Skip the test unless the compiler finds this header, and the library behind it."""
    need = need_of(name)
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0].removeprefix("tests/")
    if not any(test == path or test.startswith(f"{path}/") for path in need.tests):
        pytest.fail(f"{HERE.name}/machine.toml does not list {test} as a user of {name}")
    if need.lacks(name):
        pytest.skip(f"{name} is missing: {cure(need.packages)}")
