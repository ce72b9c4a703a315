"""Small file systems that tests mount; a test whose user may not mount is skipped."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, *arguments: str | Path) -> Iterator[Path]:
    """The folder with something mounted on it by `mount ARGUMENTS folder`."""
    mount(*arguments, folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def mount(*arguments: str | Path) -> None:
    """Run mount; skip the test where that is not allowed."""
    command = ["mount", *arguments]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a small disk")


def tmpfs(folder: Path, size: str) -> AbstractContextManager[Path]:
    """The folder with an empty file system of that size in memory on it."""
    folder.mkdir(exist_ok=True)
    return mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")
