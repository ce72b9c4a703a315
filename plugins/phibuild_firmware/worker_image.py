"""Writes a model image: the payload in one pass, then the descriptor before it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import phiworker

if TYPE_CHECKING:
    from phibuild_firmware.descriptor import CONTAINERS, Descriptor
    from phibuild_firmware.packing import pack
else:
    from descriptor import CONTAINERS, Descriptor
    from packing import pack

_CHUNK = 1 << 20


def main(job: phiworker.Job) -> None:
    recipe, artifact = job.recipe, job.inputs["artifact"]
    offset, erase_size = recipe["alignment"], recipe["erase_size"]
    container = recipe["container"] or ("tar" if artifact.is_dir() else "file")
    if container == "file" and artifact.is_dir():
        raise phiworker.WorkerError(
            'a folder cannot be packed with container="file"',
            hint="leave it out, or choose tar, squashfs or erofs",
            code="PHI203",
        )
    with job.output.open("wb") as image:
        image.write(bytes(offset))
        payload = Payload(image)
        if container == "file":
            copy(job, artifact, payload)
        else:
            pack(artifact, recipe["file_name"], container, payload, job)
        image.write(bytes(-(offset + payload.size) % erase_size))
        size = image.tell()
        image.seek(0)
        image.write(
            Descriptor(
                format=recipe["format"],
                container=CONTAINERS.index(container),
                payload_offset=offset,
                payload_size=payload.size,
                payload_sha256=payload.digest.digest(),
                tokenizer_digest=digest_of(recipe["tokenizer"]),
                chat_template_digest=digest_of(recipe["chat_template"]),
                alignment=recipe["alignment"],
                model_id=recipe["model_id"],
                recipe=recipe["recipe"],
            ).to_bytes()
        )
    ram_room = recipe["ram_room"]
    if ram_room is not None and payload.size > ram_room:
        raise phiworker.WorkerError(
            f"the model has {payload.size:,} bytes, {payload.size - ram_room:,} more than its"
            " ram_budget leaves",
            hint="choose a lower precision, a shorter context, or more memory",
            code="PHI701",
        )
    slot = recipe["slot_size"]
    if slot is not None and size > slot:
        raise phiworker.WorkerError(
            f"the image has {size:,} bytes, {size - slot:,} more than its slot of {slot:,}",
            hint="choose a lower precision, or a larger slot",
            code="PHI701",
        )


class Payload:
    """A stream into the image that counts and digests what goes by."""

    def __init__(self, image: BinaryIO) -> None:
        self.image, self.digest, self.size = image, hashlib.sha256(), 0

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        self.size += len(content)
        return self.image.write(content)


def copy(job: phiworker.Job, path: Path, payload: Payload) -> None:
    whole = max(path.stat().st_size, 1)
    with path.open("rb") as file:
        while content := file.read(_CHUNK):
            payload.write(content)
            if payload.size % (64 * _CHUNK) == 0:
                job.progress(payload.size / whole, "copy and digest")


def digest_of(text: str) -> bytes:
    return bytes.fromhex(text) if text else bytes(32)


if __name__ == "__main__":
    phiworker.run(main)
