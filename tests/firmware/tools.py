"""Programs of the machine that the tests of firmware need: cross compilers and QEMU."""

from __future__ import annotations

import os
import shutil

import pytest


def needed_tool(name: str) -> str:
    """Its path. Without it a test is skipped on a developer's machine, and fails in CI."""
    path = shutil.which(name)
    if path is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
