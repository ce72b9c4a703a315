"""Reads a model image for `phibuild show`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from phibuild.api import Description, PackagingError, open_regular
from phibuild_firmware.descriptor import SIZE, BadImage, descriptor_sha256, parse, signature_of

_CONTAINERS = {0: "a single file", 1: "EROFS", 2: "squashfs", 3: "tar"}


def describe(path: Path) -> Description:
    """The descriptor, and whether the payload is what it says; PackagingError PHI702 if not."""
    try:
        with open_regular(path) as file:
            page = file.read(SIZE)
            found, signature = parse(page), signature_of(page)
            if found.payload_offset + found.payload_size > path.stat().st_size:
                raise BadImage("its payload is cut off")
            file.seek(found.payload_offset)
            digest, left = hashlib.sha256(), found.payload_size
            while left and (content := file.read(min(left, 1 << 20))):
                digest.update(content)
                left -= len(content)
        if digest.digest() != found.payload_sha256:
            raise BadImage("its payload does not have the digest that the descriptor says")
    except (BadImage, OSError) as error:
        raise PackagingError(f"{path}: {error}", hint="build it again", code="PHI702") from None
    metadata = {
        "payload": f"{found.format.strip()}, {_CONTAINERS.get(found.container, 'unknown')}",
        "payload_offset": found.payload_offset,
        "payload_size": found.payload_size,
        "payload_sha256": found.payload_sha256.hex(),
        "tokenizer_digest": found.tokenizer_digest.hex(),
        "chat_template_digest": found.chat_template_digest.hex(),
        "model_id": found.model_id,
        "recipe": found.recipe,
        "descriptor_sha256": descriptor_sha256(page).hex(),
        "signature": "none" if signature is None else "ed25519",
        **({} if signature is None else {"key_id": signature.key_id.hex()}),
    }
    return Description(
        "model image", (), tuple((name, str(value)) for name, value in metadata.items())
    )
