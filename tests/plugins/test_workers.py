"""The built-in workers: the code of each is exactly what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phibuild.engine.workers.code import CodeReader
from phibuild.engine.workers.code_folder import code_folder
from phibuild.model.action import Action
from phibuild.store import Store
from phibuild.testing._worker_imports import forgotten_and_superfluous

PLUGINS = Path(__file__).parents[2] / "plugins"
WORKERS = sorted(PLUGINS.rglob("worker_*.py"))
NEED_PACKAGES = {"phibuild_firmware/worker_mcuboot.py"}
"""Workers that import packages of their toolchain at once."""


def named(worker: Path) -> str:
    return worker.relative_to(PLUGINS).as_posix()


@pytest.mark.parametrize("worker", WORKERS, ids=named)
def test_a_workers_code_is_what_it_imports(worker: Path) -> None:
    """Python's parser finds the same modules as the scan of the texts."""
    assert forgotten_and_superfluous(Action("x", worker, "host")) == (set(), set())


@pytest.mark.parametrize("worker", WORKERS, ids=named)
def test_a_worker_can_be_imported_from_its_code(worker: Path, tmp_path: Path) -> None:
    code = CodeReader().read(Action("x", worker, "host"))
    folder = code_folder(Store(tmp_path / "store"), code)
    module = code.script.removesuffix(".py").replace("/", ".")
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-S", "-c", f"import {module}"],
        env={"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.strip().rpartition("\n")[2]
    if named(worker) in NEED_PACKAGES:
        assert "No module named 'cryptography'" in last
    else:
        assert done.returncode == 0, done.stderr


def test_a_forgotten_and_a_superfluous_module_are_found(tmp_path: Path) -> None:
    """The comparison itself, of a worker whose imports the scan of texts misreads."""
    package = tmp_path / "toy"
    package.mkdir()
    for name in ("__init__", "one", "two"):
        (package / f"{name}.py").write_text("")
    worker = package / "worker.py"
    worker.write_text('x = 1; import toy.one\ntext = """\nimport toy.two\n"""\n')
    result = forgotten_and_superfluous(Action("x", worker, "host"))
    assert result == ({package / "one.py"}, {package / "two.py"})
