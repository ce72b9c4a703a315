"""Writes a model image: the payload in one pass, then the descriptor before it."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import phiworker

if TYPE_CHECKING:
    from phibuild_firmware.descriptor import Descriptor
else:
    from descriptor import Descriptor

_CHUNK = 1 << 20
_FILE, _TAR = 0, 3


def main(job: phiworker.Job) -> None:
    recipe, artifact = job.recipe, job.inputs["artifact"]
    offset, erase_size = recipe["alignment"], recipe["erase_size"]
    with job.output.open("wb") as image:
        image.write(bytes(offset))
        payload = Payload(image)
        if artifact.is_dir():
            pack(artifact, payload)
        else:
            copy(job, artifact, payload)
        image.write(bytes(-(offset + payload.size) % erase_size))
        size = image.tell()
        image.seek(0)
        image.write(
            Descriptor(
                format=recipe["format"],
                container=_TAR if artifact.is_dir() else _FILE,
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


def pack(folder: Path, payload: Any) -> None:
    """A tar of files in order of their paths, without times, owners and folders of their own."""
    paths = sorted(
        (path.relative_to(folder).as_posix(), path)
        for path in folder.rglob("*")
        if not path.is_dir()
    )
    with tarfile.open(fileobj=payload, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for name, path in paths:
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                try:
                    archive.addfile(entry, file)
                except ValueError as error:
                    raise phiworker.WorkerError(
                        f"{name} cannot be packed as ustar: {error}",
                        hint="a tar holds paths of 256 bytes and files of 8 GiB",
                        code="PHI701",
                    ) from None


def digest_of(text: str) -> bytes:
    return bytes.fromhex(text) if text else bytes(32)


if __name__ == "__main__":
    phiworker.run(main)
