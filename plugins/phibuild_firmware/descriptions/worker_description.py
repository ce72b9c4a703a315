"""Writes a description: puts digest and size of the image into the text."""

from __future__ import annotations

import hashlib

import phiworker

_BLOCK = 4096
"""Flash is erased in blocks of this size, and partitions begin and end at multiples of it."""


def main(job: phiworker.Job) -> None:
    artifact, limit = job.inputs["artifact"], job.recipe["limit"]
    if artifact.is_dir():
        raise phiworker.WorkerError(
            "the artifact is a folder, and other systems require one file",
            hint="pack it first, with env.FirmwareImage(...)",
            code="PHI203",
        )
    size = artifact.stat().st_size
    if limit is not None and size > limit:
        raise phiworker.WorkerError(
            f"the image has {size:,} bytes, {size - limit:,} more than its slot of {limit:,}",
            hint="choose a lower precision, or a larger slot",
            code="PHI701",
        )
    with artifact.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    text = job.recipe["text"].replace("@SHA256@", sha256).replace("@SIZE@", str(size))
    job.output.write_text(text.replace("@ROUNDED@", hex(-(-size // _BLOCK) * _BLOCK)), "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
