"""Worker of `env.Install`: the files of an artifact, copied."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import phiworker

_BLOCK = 1 << 20


def main(job: phiworker.Job) -> None:
    """Copy the input "artifact", a file or a folder."""
    artifact = job.inputs["artifact"]
    if artifact.is_file():
        job.written(_copy(artifact, job.output))
        return
    job.output.mkdir()
    for path in sorted(artifact.rglob("*")):
        if path.is_file():
            name = path.relative_to(artifact)
            place = job.output / name
            place.parent.mkdir(parents=True, exist_ok=True)
            job.written(_copy(path, place), file=name.as_posix())


def _copy(path: Path, to: Path) -> str:
    """Copy the bytes and their mode; return the hexadecimal digits of their digest."""
    digest = hashlib.sha256()
    with path.open("rb") as source, to.open("xb") as copy:
        while block := source.read(_BLOCK):
            digest.update(block)
            copy.write(block)
    shutil.copymode(path, to)
    return digest.hexdigest()


phiworker.run(main)
