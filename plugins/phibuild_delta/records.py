"""The format of a delta (DELTA.md): its header, files and records as values, checked when read."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import BinaryIO, NamedTuple

from phibuild.api import PackagingError
from phibuild_delta.spaces import File, bad_path

SMALLEST_WINDOW, LARGEST_WINDOW = 4 << 10, 16 << 20
COPY, RAW, ZSTD, DIFFERENCES, WITH_OLD = range(5)
FILE, TREE = 0, 1
MAGIC = b"PHIDELTA"
_VERSION = 1
_HEADER = struct.Struct("<8sIIIIQQ32s32sIII12x")
HEADER_SIZE = _HEADER.size
_ENTRY = struct.Struct("<BxHQ")
_RECORD = struct.Struct("<BBHIQII32s")
_MOST_FILES = 1 << 16
_LONGEST_LIST = 32 << 20
MOST_FIELDS = 16
_MOST_WIDTH = 4096
_NUMBER, _SPARSE = 1 << 14, 1 << 15


class Header(NamedTuple):
    """The two artifacts of a delta. Digests are 32 bytes, over all bytes of all files in order."""

    kind: int
    window: int
    records: int
    old_size: int
    new_size: int
    old_sha256: bytes
    new_sha256: bytes
    old_files: int = 0
    new_files: int = 0
    files_size: int = 0

    def to_bytes(self) -> bytes:
        """The 128 bytes."""
        return _HEADER.pack(MAGIC, _VERSION, *self)


class Field(NamedTuple):
    """Like bytes of each block: a little-endian number of 2 or 4 bytes, or single bytes.
    `is_sparse` says for one window that its differences are stored as distances and values."""

    width: int
    is_number: bool = False
    is_sparse: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether a delta may hold the field."""
        is_number = not self.is_sparse and self.width in (2, 4)
        return 0 < self.width <= _MOST_WIDTH and (is_number or not self.is_number)

    @property
    def code(self) -> int:
        """The field as a record holds it."""
        return self.width | self.is_number * _NUMBER | self.is_sparse * _SPARSE


class Record(NamedTuple):
    """How to make one window of the new bytes."""

    kind: int
    size: int
    old_offset: int
    old_size: int
    sha256: bytes
    fields: tuple[Field, ...]
    packed: bytes

    def to_bytes(self) -> bytes:
        """The record with its fields and packed bytes."""
        head = _RECORD.pack(
            self.kind,
            len(self.fields),
            0,
            self.size,
            self.old_offset,
            self.old_size,
            len(self.packed),
            self.sha256,
        )
        codes = (field.code for field in self.fields)
        return head + struct.pack(f"<{len(self.fields)}H", *codes) + self.packed


def read_header(file: BinaryIO) -> Header:
    """The header at the beginning; PackagingError PHI703 if there is none."""
    content = _exactly(file, HEADER_SIZE)
    magic, version, *rest = _HEADER.unpack(content)
    if magic != MAGIC:
        raise damaged("it does not begin with PHIDELTA")
    if version != _VERSION:
        raise damaged(f"its version is {version}; only {_VERSION} is supported")
    header = Header(*rest)
    if (
        header.kind not in (FILE, TREE)
        or (header.kind == FILE and any(header[-3:]))
        or not SMALLEST_WINDOW <= header.window <= LARGEST_WINDOW
        or max(header.old_files, header.new_files) > _MOST_FILES
        or header.files_size > _LONGEST_LIST
        or any(content[-12:])
    ):
        raise damaged("its header contradicts itself")
    return header


def write_files(files: Sequence[File]) -> bytes:
    """The entries of a tree's files."""
    entries = []
    for file in files:
        path = file.path.encode()
        entries.append(_ENTRY.pack(file.is_executable, len(path), file.size) + path)
    return b"".join(entries)


def read_files(file: BinaryIO, header: Header) -> tuple[tuple[File, ...], tuple[File, ...]]:
    """The files of both trees, the old one first; PackagingError PHI703 for a path that leads out
    of the tree, and for files in another order or of another size than the header says."""
    if header.kind == FILE:
        return (File("", header.old_size),), (File("", header.new_size),)
    entries = BytesIO(_exactly(file, header.files_size))
    old = _files(entries, header.old_files, header.old_size)
    new = _files(entries, header.new_files, header.new_size)
    if entries.read(1):
        raise damaged("its list of files has another length than its header says")
    return old, new


def _files(stream: BinaryIO, count: int, size: int) -> tuple[File, ...]:
    files: list[File] = []
    start = 0
    for _ in range(count):
        executable, length, file_size = _ENTRY.unpack(_exactly(stream, _ENTRY.size))
        path = _exactly(stream, length).decode("utf-8", errors="replace")
        problem = bad_path(path)
        if problem or executable > 1:
            raise damaged(f"the path {path!r} {problem or 'has an unknown flag'}")
        before = files[-1].path if files else ""
        if path <= before or (before and path.startswith(f"{before}/")):
            raise damaged(f"the path {path!r} is out of order")
        files.append(File(path, file_size, bool(executable), start))
        start += file_size
    if start != size:
        raise damaged("its files have another size than its header says")
    folders = {folder for file in files for folder in _folders(file.path)}
    for file in files:
        if file.path in folders:
            raise damaged(f"the path {file.path!r} is a file and a folder")
    return tuple(files)


def _folders(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def read_records(file: BinaryIO, header: Header) -> Iterator[Record]:
    """The records; PackagingError PHI703 for one that contradicts the header."""
    done = 0
    for _ in range(header.records):
        kind, count, reserved, size, offset, old_size, packed_size, sha256 = _RECORD.unpack(
            _exactly(file, _RECORD.size)
        )
        done += size
        if (
            kind > WITH_OLD
            or reserved
            or not 0 < size <= header.window
            or done > header.new_size
            or packed_size > header.window
            or (kind == COPY and packed_size)
            or (kind == RAW and packed_size != size)
            or offset + old_size > header.old_size
            or (kind in (COPY, DIFFERENCES) and old_size != size)
            or (kind in (RAW, ZSTD) and (offset or old_size))
            or old_size > header.window
            or count > MOST_FIELDS
            or (count > 0) != (kind == DIFFERENCES)
        ):
            raise damaged("one of its records contradicts itself")
        fields = tuple(
            _field(code) for code in struct.unpack(f"<{count}H", _exactly(file, 2 * count))
        )
        if fields and size % sum(field.width for field in fields):
            raise damaged("one of its records does not hold whole blocks")
        yield Record(kind, size, offset, old_size, sha256, fields, _exactly(file, packed_size))
    if done != header.new_size or file.read(1):
        raise damaged("its records do not add up to the size that its header says")


def _field(code: int) -> Field:
    field = Field(code & (_NUMBER - 1), bool(code & _NUMBER), bool(code & _SPARSE))
    if not field.is_valid:
        raise damaged("one of its records has a field that is not valid")
    return field


def damaged(problem: str) -> PackagingError:
    """The error for a delta that cannot be applied."""
    return PackagingError(
        f"the delta is damaged: {problem}", hint="make it again, or fetch it again", code="PHI703"
    )


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise damaged("it is cut off")
    return content
