"""Reads a model image for `phibuild show`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from phibuild.api import Description, PackagingError, open_regular
from phibuild_firmware.descriptor import (
    CONTAINERS,
    SIZE,
    BadImage,
    descriptor_sha256,
    parse,
    signature_of,
)

FORMAT = "model image"
_CONTAINER_NAMES = {"erofs": "EROFS", None: "a single file"}


def describe(path: Path) -> Description:
    """The descriptor, after a check of the payload; PackagingError PHI702 if either is damaged."""
    try:
        with open_regular(path) as file:
            page = file.read(SIZE)
            descriptor, signature = parse(page), signature_of(page)
            if descriptor.payload_offset + descriptor.payload_size > path.stat().st_size:
                raise BadImage("its payload is cut off")
            file.seek(descriptor.payload_offset)
            digest, left = hashlib.sha256(), descriptor.payload_size
            while left and (content := file.read(min(left, 1 << 20))):
                digest.update(content)
                left -= len(content)
        if digest.digest() != descriptor.payload_sha256:
            raise BadImage("its payload does not have the digest in its descriptor")
    except (BadImage, OSError) as error:
        raise PackagingError(f"{path}: {error}", hint="build it again", code="PHI702") from None
    container = CONTAINERS.get(descriptor.container, "unknown")
    metadata = {
        "payload": f"{descriptor.format.strip()}, {_CONTAINER_NAMES.get(container, container)}",
        "payload_offset": descriptor.payload_offset,
        "payload_size": descriptor.payload_size,
        "payload_sha256": descriptor.payload_sha256.hex(),
        "tokenizer_digest": descriptor.tokenizer_digest.hex(),
        "chat_template_digest": descriptor.chat_template_digest.hex(),
        "model_id": descriptor.model_id,
        "recipe": descriptor.recipe,
        "descriptor_sha256": descriptor_sha256(page).hex(),
        "signature": "none" if signature is None else "ed25519",
        **({} if signature is None else {"key_id": signature.key_id.hex()}),
    }
    return Description(FORMAT, (), tuple((name, str(value)) for name, value in metadata.items()))
