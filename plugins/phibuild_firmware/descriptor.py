"""The descriptor of a model image, as FORMAT.md lays it out. Standard library only, Python 3.10 and
later: workers import it."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

SIZE = 512
SIGNED = 400
"""How many bytes of a descriptor its signature covers."""
_DIGESTED = 368
_LAYOUT = struct.Struct("<8sII4sIQQ32s32s32sII64s128s32s")
_SIGNATURE = struct.Struct("<I4x32s64s8x")
_ED25519 = 1
_MAGIC = b"PHIMODEL"
_ZERO = bytes(32)
CONTAINERS: dict[int, str | None] = {0: None, 1: "erofs", 2: "squashfs", 3: "tar"}
"""What the files are packed in, by its number; None for a single file as it is."""


class BadImage(ValueError):
    """The bytes are not a model image, or a damaged one."""


class Descriptor(NamedTuple):
    """The fields by the names that FORMAT.md gives them; digests are 32 bytes."""

    format: str
    container: int
    payload_offset: int
    payload_size: int
    payload_sha256: bytes
    tokenizer_digest: bytes
    chat_template_digest: bytes
    alignment: int
    model_id: str
    recipe: str

    def to_bytes(self) -> bytes:
        """The 512 bytes, without a signature."""
        fields = _LAYOUT.pack(
            _MAGIC,
            1,
            SIZE,
            self.format.encode(),
            self.container,
            self.payload_offset,
            self.payload_size,
            self.payload_sha256,
            self.tokenizer_digest,
            self.chat_template_digest,
            self.alignment,
            0,
            cut(self.model_id, 64),
            cut(self.recipe, 128),
            _ZERO,
        )
        return (fields + hashlib.sha256(fields).digest()).ljust(SIZE, b"\0")


def parse(page: bytes) -> Descriptor:
    """The descriptor at the beginning of an image; BadImage if there is none, or a damaged one."""
    if len(page) < SIZE or page[:8] != _MAGIC:
        raise BadImage("it does not begin with a descriptor of a model image")
    (_, version, size, form, container, offset, length, *digests, alignment, _, name, recipe, _) = (
        _LAYOUT.unpack_from(page)
    )
    if version != 1 or size != SIZE:
        raise BadImage(f"its descriptor has version {version}; only 1 is supported")
    if hashlib.sha256(page[:_DIGESTED]).digest() != page[_DIGESTED : _DIGESTED + 32]:
        raise BadImage("its descriptor does not match its digest")
    payload, tokenizer, chat_template = digests
    texts = [text.rstrip(b"\0").decode("utf-8", "replace") for text in (form, name, recipe)]
    return Descriptor(
        texts[0],
        container,
        offset,
        length,
        payload,
        tokenizer,
        chat_template,
        alignment,
        texts[1],
        texts[2],
    )


class Signature(NamedTuple):
    """An ed25519 signature, and the SHA-256 of the public key that it is checked with."""

    key_id: bytes
    signature: bytes


def with_signature(page: bytes, signature: Signature) -> bytes:
    """The same descriptor, signed."""
    return page[:SIGNED] + _SIGNATURE.pack(_ED25519, *signature)


def signature_of(page: bytes) -> Signature | None:
    """The signature of a descriptor, None if it has none; BadImage for an unknown kind."""
    kind, *fields = _SIGNATURE.unpack_from(page, SIGNED)
    if kind not in (0, _ED25519):
        raise BadImage(f"its signature is of kind {kind}; only 1, ed25519, is supported")
    return Signature(*fields) if kind else None


def descriptor_sha256(page: bytes) -> bytes:
    """The model's identity in one value."""
    return page[_DIGESTED : _DIGESTED + 32]


def cut(text: str, size: int) -> bytes:
    """UTF-8 of at most so many bytes, never ending within a character."""
    return text.encode()[:size].decode("utf-8", "ignore").encode()
