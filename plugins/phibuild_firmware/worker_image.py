"""Writes a model image: the payload in one pass, then the descriptor before it."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import phiworker

from phibuild_firmware.descriptor import CONTAINERS, SIGNED, Descriptor, Signature, with_signature
from phibuild_firmware.file_systems import file_system

_CHUNK = 1 << 20
_NUMBERS = {name: number for number, name in CONTAINERS.items()}
_SKIPPED = frozenset({".git", "build", "__pycache__"})  # what phibuild's digest of a folder skips


def main(job: phiworker.Job) -> None:
    recipe, artifact = job.recipe, job.inputs["artifact"]
    offset, erase_size = recipe["alignment"], recipe["erase_size"]
    signed = signing(job.inputs["signing_key"]) if "signing_key" in job.inputs else None
    with job.output.open("wb") as image:
        image.write(bytes(offset))
        payload = Payload(image)
        container = recipe["container"] or ("tar" if artifact.is_dir() else None)
        files = files_of(artifact, recipe["file_name"])
        if container == "tar":
            pack(files, payload)
        elif container is not None:
            copy(job, file_system(job, files, container), payload)
        else:
            copy(job, artifact, payload)
        image.write(bytes(-(offset + payload.size) % erase_size))
        size = image.tell()
        page = Descriptor(
            format=recipe["format"],
            container=_NUMBERS[container],
            payload_offset=offset,
            payload_size=payload.size,
            payload_sha256=payload.digest.digest(),
            tokenizer_digest=digest_of(recipe["tokenizer"]),
            chat_template_digest=digest_of(recipe["chat_template"]),
            alignment=recipe["alignment"],
            model_id=recipe["model_id"],
            recipe=recipe["recipe"],
        ).to_bytes()
        image.seek(0)
        image.write(page if signed is None else signed(page))
    memory_limit, model_size = recipe["memory_limit"], sum(path.stat().st_size for _, path in files)
    if memory_limit is not None and model_size > memory_limit:
        raise phiworker.WorkerError(
            f"the model has {model_size:,} bytes, {model_size - memory_limit:,} more than its"
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
    """A stream into the image that counts and digests its bytes."""

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


def files_of(artifact: Path, file_name: str) -> list[tuple[str, Path]]:
    """The files by their names in a container, in order. The name of a single file is not part of
    the key, so it has `file_name` instead."""
    if not artifact.is_dir():
        return [(file_name, artifact)]
    return sorted(
        (path.relative_to(artifact).as_posix(), path)
        for path in artifact.rglob("*")
        if not path.is_dir() and not _SKIPPED.intersection(path.relative_to(artifact).parts)
    )


def pack(paths: list[tuple[str, Path]], payload: Any) -> None:
    """A tar of these files, without times, owners and folders of their own."""
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


def signing(path: Path) -> Callable[[bytes], bytes]:
    """A function that signs a descriptor; the key is checked before any other work."""
    # `cryptography` is installed only for images that are signed.
    from phibuild_firmware.signatures import key_id, signing_key

    key = signing_key(path)
    name = key_id(key.public_key())
    return lambda page: with_signature(page, Signature(name, key.sign(page[:SIGNED])))


def digest_of(text: str) -> bytes:
    return bytes.fromhex(text) if text else bytes(32)


if __name__ == "__main__":
    phiworker.run(main)
