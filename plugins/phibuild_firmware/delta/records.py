"""The format of a delta (DELTA.md): its header and records as values, read without trust."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from phibuild.api import PackagingError

WINDOW = 4 << 20
COPY, WHOLE, DIFFERENCES, WITH_OLD = range(4)
_MAGIC = b"PHIDELTA"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQ32s32s")
HEADER_SIZE = _HEADER.size
_RECORD = struct.Struct("<BBHIQII32s")
_MOST_PACKED = WINDOW + (64 << 10)
_MOST_FIELDS = 64


class Header(NamedTuple):
    """What a delta is of; digests are 32 bytes."""

    records: int
    old_size: int
    new_size: int
    old_sha256: bytes
    new_sha256: bytes

    def to_bytes(self) -> bytes:
        """The 96 bytes."""
        return _HEADER.pack(_MAGIC, _VERSION, *self)


class Record(NamedTuple):
    """How one window of the new file is made."""

    kind: int
    size: int
    old_offset: int
    old_size: int
    sha256: bytes
    widths: tuple[int, ...]
    packed: bytes

    def to_bytes(self) -> bytes:
        """The record with its frame."""
        head = _RECORD.pack(
            self.kind,
            len(self.widths),
            0,
            self.size,
            self.old_offset,
            self.old_size,
            len(self.packed),
            self.sha256,
        )
        return head + struct.pack(f"<{len(self.widths)}H", *self.widths) + self.packed


def read_header(file: BinaryIO) -> Header:
    """The header at the beginning; PackagingError PHI703 if there is none."""
    magic, version, *rest = _HEADER.unpack(_exactly(file, HEADER_SIZE))
    if magic != _MAGIC:
        raise damaged("it does not begin with PHIDELTA")
    if version != _VERSION:
        raise damaged(f"it is of version {version}; {_VERSION} is known")
    return Header(*rest)


def read_records(file: BinaryIO, header: Header) -> Iterator[Record]:
    """The records, each checked against the header; PackagingError PHI703 for one that lies."""
    made = 0
    for _ in range(header.records):
        kind, fields, reserved, size, offset, old_size, packed_size, sha256 = _RECORD.unpack(
            _exactly(file, _RECORD.size)
        )
        made += size
        if (
            kind > WITH_OLD
            or reserved
            or not 0 < size <= WINDOW
            or made > header.new_size
            or packed_size > _MOST_PACKED
            or (kind == COPY and packed_size)
            or (kind != WHOLE and offset + old_size > header.old_size)
            or (kind in (COPY, DIFFERENCES) and old_size != size)
            or old_size > WINDOW
            or fields > _MOST_FIELDS
            or (fields > 0) != (kind == DIFFERENCES)
        ):
            raise damaged("one of its records contradicts itself")
        widths = struct.unpack(f"<{fields}H", _exactly(file, 2 * fields))
        if 0 in widths:
            raise damaged("one of its records has an empty field")
        yield Record(kind, size, offset, old_size, sha256, widths, _exactly(file, packed_size))
    if made != header.new_size or file.read(1):
        raise damaged("its records do not make the file that it promises")


def damaged(why: str) -> PackagingError:
    """The error for a delta that cannot be used."""
    return PackagingError(
        f"the delta is damaged: {why}", hint="make it again, or fetch it again", code="PHI703"
    )


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise damaged("it is cut off")
    return content
