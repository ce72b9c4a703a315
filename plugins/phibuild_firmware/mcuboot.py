"""The layout of an MCUboot image, from MCUboot's docs/design.md and bootutil's image.h: a header,
the payload, and TLVs with the digest, the key's digest and the signature. Little endian.

Standard library only, Python 3.10 and later: workers import it.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

_HEADER = struct.Struct("<IIHHIIBBHII")
_MAGIC = 0x96F3B83D
_INFO = struct.Struct("<HH")
_INFO_MAGIC = 0x6907
_TLV = struct.Struct("<HH")
SHA256, KEYHASH, ED25519 = 0x10, 0x01, 0x24
_SIZES = {SHA256: 32, KEYHASH: 32, ED25519: 64}
TLVS_SIZE = _INFO.size + sum(_TLV.size + size for size in _SIZES.values())
LARGEST = 0xFFFFFFFF
"""The most bytes of a payload: the header has 32 bits for it."""
_BOOT_MAGIC = 16
_MAX_ALIGN = 8
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:\+(\d+))?")


class BadMcubootImage(ValueError):
    """The bytes are not an MCUboot image that this module could have written."""


class Version(NamedTuple):
    """The version that MCUboot compares to prevent a downgrade."""

    major: int
    minor: int
    revision: int
    build: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.revision}+{self.build}"


def parse_version(text: str) -> Version:
    """The version in `1.2.3` or `1.2.3+4`; ValueError for another form, or a number too large."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    version = Version(*(int(number or 0) for number in match.groups()))
    if any(number >> bits for number, bits in zip(version, (8, 8, 16, 32), strict=True)):
        raise ValueError(text)
    return version


def header(version: Version, header_size: int, payload_size: int) -> bytes:
    """The header, padded up to the payload with the bytes of erased flash, as imgtool does."""
    fields = _HEADER.pack(_MAGIC, 0, header_size, 0, payload_size, 0, *version, 0)
    return fields.ljust(header_size, b"\xff")


def tlvs(values: dict[int, bytes]) -> bytes:
    """The TLVs behind the payload: each value by its type, in this order."""
    entries = b"".join(_TLV.pack(kind, len(value)) + value for kind, value in values.items())
    return _INFO.pack(_INFO_MAGIC, _INFO.size + len(entries)) + entries


def trailer_size(align: int, max_sectors: int, *, overwrite_only: bool) -> int:
    """Bytes at the end of a slot in which MCUboot keeps the state of an update (boot_trailer_sz in
    bootutil_misc.c): three writes a sector, four fields, and its magic."""
    field = max(align, _MAX_ALIGN)
    magic = -(-_BOOT_MAGIC // field) * field
    return 2 * field + magic if overwrite_only else 3 * max_sectors * align + 4 * field + magic


class ImageHeader(NamedTuple):
    """The header of an image."""

    version: Version
    header_size: int
    payload_size: int


def parse(start: bytes) -> ImageHeader:
    """The header at the beginning of an image."""
    if len(start) < _HEADER.size:
        raise BadMcubootImage("it is too short")
    magic, _, header_size, protected, payload_size, _, *version, _ = _HEADER.unpack_from(start)
    if magic != _MAGIC or protected:
        raise BadMcubootImage("it does not begin with the header of an MCUboot image")
    return ImageHeader(Version(*version), header_size, payload_size)


def parse_tlvs(content: bytes) -> dict[int, bytes]:
    """The values by their types; BadMcubootImage unless they are in the form that `tlvs` writes."""
    values = {}
    at = _INFO.size
    if len(content) != TLVS_SIZE or _INFO.unpack_from(content) != (_INFO_MAGIC, TLVS_SIZE):
        raise BadMcubootImage("its TLVs are not those of an image signed by phibuild")
    for kind, size in _SIZES.items():
        if _TLV.unpack_from(content, at) != (kind, size):
            raise BadMcubootImage("its TLVs are not those of an image signed by phibuild")
        values[kind] = content[at + _TLV.size : at + _TLV.size + size]
        at += _TLV.size + size
    return values
