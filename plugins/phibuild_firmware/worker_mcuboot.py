"""Writes an MCUboot image in one pass over the payload, and signs its digest."""

from __future__ import annotations

import hashlib

import phiworker
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from phibuild_firmware import mcuboot
from phibuild_firmware.signatures import signing_key

_CHUNK = 1 << 20


def main(job: phiworker.Job) -> None:
    recipe, payload = job.recipe, job.inputs["artifact"]
    key = signing_key(job.inputs["signing_key"])
    if payload.is_dir():
        raise phiworker.WorkerError(
            "an MCUboot image holds one file, and this is a folder",
            hint="pack it first, with env.FirmwareImage(...)",
            code="PHI203",
        )
    size = payload.stat().st_size
    check_size(size, recipe["payload_limit"])
    header_size = recipe["header_size"]
    digest = hashlib.sha256()
    with payload.open("rb") as source, job.output.open("wb") as image:
        content = mcuboot.header(mcuboot.Version(*recipe["version"]), header_size, size)
        while content:
            digest.update(content)
            image.write(content)
            if image.tell() % (64 * _CHUNK) < _CHUNK:
                job.progress(image.tell() / (header_size + size), "copy and digest")
            content = source.read(_CHUNK)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        image.write(
            mcuboot.tlvs(
                {
                    mcuboot.SHA256: digest.digest(),
                    mcuboot.KEYHASH: hashlib.sha256(public).digest(),
                    mcuboot.ED25519: key.sign(digest.digest()),
                }
            )
        )


def check_size(size: int, payload_limit: int | None) -> None:
    """WorkerError PHI701 for a payload that does not fit the slot, or MCUboot's header."""
    limit = min(payload_limit or mcuboot.LARGEST, mcuboot.LARGEST)
    if size > limit:
        raise phiworker.WorkerError(
            f"the payload has {size:,} bytes, {size - limit:,} more than an MCUboot image in this"
            f" slot can hold: {limit:,}",
            hint="choose a lower precision, or a larger slot",
            code="PHI701",
        )


if __name__ == "__main__":
    phiworker.run(main)
