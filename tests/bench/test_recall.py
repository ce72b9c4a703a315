"""Recall: restoring a large deleted artifact from the store costs as much as a copy, or nothing if
the file system shares blocks."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from phibuild.store.copying import Way, way_to
from tests.bench.measure import best, cost_of
from tests.conftest import Project

ROUNDS = 5
LIMITS = {Way.REFLINK: 0.2, Way.COPY: 1.2, Way.HARD_LINK: 0.2}
SCONS = (sys.executable, "-P", "-m", "SCons", "-Q")
GIGABYTES = 2
WORKER = f"""\
import hashlib, phiworker

def main(job):
    block = b"".join(hashlib.sha512(bytes([i])).digest() for i in range(256)) * 64
    with job.output.open("wb") as stream:
        for number in range({GIGABYTES} * 10**9 // len(block)):
            stream.write(number.to_bytes(8, "little") + block[8:])

if __name__ == "__main__":
    phiworker.run(main)
"""


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_recalling_two_gigabytes_costs_no_more_than_a_copy(project: Project) -> None:
    project.write("worker.py", WORKER)
    project.sconstruct('env.Artifact("large.bin", worker="worker.py")\n')
    first = project.scons()
    assert first.names("built") == ["large.bin"], first.text
    target = project.folder / "large.bin"
    manifest = project.folder / "large.bin.phi.json"
    size = target.stat().st_size
    null, recalled, inside, copied = [], [], [], []
    for _ in range(ROUNDS):
        null.append(cost_of(SCONS, folder=project.folder, environment=project.environment))
        target.unlink()
        manifest.unlink()
        recalled.append(cost_of(SCONS, folder=project.folder, environment=project.environment))
        inside.append(_recall_seconds((project.folder.parent / "project.log").read_text("utf-8")))
        assert target.stat().st_size == size
        copied.append(_seconds_of_copy(target, project.folder / "copy.bin"))
    run, idle, copy = best(recalled), best(null), min(copied)
    way = way_to(project.folder, source=target)
    print(
        f"\nbench recall of {size / 1e9:.1f} GB by {way.value}:"
        f" {(run.seconds - idle.seconds) / copy:.2f} x"
        f" copying the file ({run.seconds - idle.seconds:.2f} s more than a null build"
        f" against {copy:.2f} s, best of {ROUNDS}; {min(inside):.2f} s for the recall itself,"
        f" {run.seconds:.2f} s for the whole run of SCons)",
        end="",
    )
    assert run.seconds - idle.seconds <= copy * LIMITS[way]


def _recall_seconds(text: str) -> float:
    """The seconds of the recalled artifact in the summary."""
    match = re.search(r"^large\.bin .* recalled +([\d.]+)$", text, re.MULTILINE)
    assert match is not None, text
    return float(match[1])


def _seconds_of_copy(source: Path, target: Path) -> float:
    start = time.monotonic()
    shutil.copyfile(source, target)
    spent = time.monotonic() - start
    target.unlink()
    return spent
