"""A worker that writes to its inputs damages no object."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phibuild.engine.building.realize import realize_step
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action
from phibuild.model.errors import ActionError
from phibuild.registry import load_registry
from phibuild.store import Store

MAKE = """\
import phiworker

def main(job):
    job.output.mkdir()
    (job.output / "large.bin").write_bytes(b"x" * (2 << 20))
    (job.output / "small.txt").write_text("small")

phiworker.run(main)
"""
SPOIL = """\
import phiworker

def main(job):
    path = job.inputs["made"] / "{name}"
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.write(b"y")
    job.output.write_text("done")

phiworker.run(main)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop.of(Store(tmp_path / "store"), load_registry())


def spoiling(folder: Path, name: str) -> tuple[Action, Action]:
    """An action, and one that writes to a file of its result."""
    (folder / "make.py").write_text(MAKE)
    (folder / "spoil.py").write_text(SPOIL.format(name=name))
    first = Action("make", folder / "make.py", "host")
    return first, Action("spoil", folder / "spoil.py", "host", inputs=(("made", first),))


def test_a_small_input_is_a_copy(shop: Workshop, tmp_path: Path) -> None:
    first, second = spoiling(tmp_path, "small.txt")
    realize_step(shop, second, None, "x")
    assert shop.store.has(realize_step(shop, first, None, "x").tree)


def test_a_large_input_that_a_worker_changed_is_discarded(shop: Workshop, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can write to a read-only file")
    first, second = spoiling(tmp_path, "large.bin")
    try:
        realize_step(shop, second, None, "x")
    except ActionError as error:  # there are hard links here
        assert "spoil changed its input made" in error.message
        assert error.code == "PHI401"
    tree = realize_step(shop, first, None, "x").tree
    assert shop.store.has(tree)
    assert shop.store.object_path(tree.entries[0]).read_bytes() == b"x" * (2 << 20)
