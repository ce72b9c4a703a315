"""The header of a safetensors file: the one reader, strict and bounded, and the one writer.

Format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors' bytes
(https://huggingface.co/docs/safetensors, section Format).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.foreign import open_regular, strict_json
from phibuild.model.errors import SourceError
from phibuild.source.reading import unreadable

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "U16": 16, "I16": 16,
    "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
_LONGEST_HEADER = 16 << 20
"""Enough for 100,000 tensors in one file; the largest Phi model has 2,000 in all of its files."""
_LONGEST_NAME = 512
_MOST_DIMENSIONS = 8
_LARGEST_NUMBER = 1 << 62
_LARGE = 1 << 30
_LEAST_SHARE = 64
"""The disk has to hold one byte in so many of a large file. Less is a preallocated download, or an
attack on the time that reading takes."""
_COPY = 16 << 20


class Span(NamedTuple):
    """The place of a tensor in its file: `offset`, from the start of the file, and `size` are in
    bytes, `shape` is (out, in)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


class SafetensorsHeader(NamedTuple):
    """The tensors in the order of their bytes, and `__metadata__`, empty without one."""

    spans: tuple[Span, ...]
    metadata: Mapping[str, str]


def read_safetensors_header(
    path: Path, *, hint: str = "fetch the file again and compare its sha256"
) -> SafetensorsHeader:
    """Read a header and check all of it.

    SourceError PHI102 with this hint if the file is truncated, or the header is not JSON of the
    right shape, or a tensor's offsets leave the file, overlap, leave gaps, or disagree with its
    type and shape; other codes for a file that cannot be read.
    """
    try:
        return _read(path)
    except ValueError as error:
        raise SourceError(f"{path}: {error}", hint=hint, code="PHI102") from None
    except OSError as error:
        raise unreadable(path, error) from None


def _read(path: Path) -> SafetensorsHeader:
    with open_regular(path) as stream:
        length = os.fstat(stream.fileno()).st_size
        header_size = int.from_bytes(stream.read(8), "little")
        if length < 8 or header_size > length - 8:
            raise ValueError("the file ends inside its header; is the download complete?")
        if header_size > _LONGEST_HEADER:
            raise ValueError(f"its header of {header_size:,} bytes is longer than any model's")
        text = stream.read(header_size)
        if length > _LARGE and _bytes_on_disk(stream.fileno()) < length // _LEAST_SHARE:
            raise ValueError("hardly any of its bytes were written; is the download complete?")
    start = 8 + header_size
    try:
        header = strict_json(text.decode("utf-8"))
        metadata = header.pop("__metadata__", None) or {}
        spans = [_span(name, fields, start) for name, fields in header.items()]
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("a value of __metadata__ is not a string")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the header is not a safetensors header ({error})") from None
    spans.sort(key=lambda span: (span.offset, span.size))
    end = start
    for span in spans:
        if span.offset != end:
            raise ValueError(f"the header puts tensor {span.name!r} in the wrong place")
        end += span.size
    if end > length:
        raise ValueError(
            f"the file is {length} bytes and should be {end}; is the download complete?"
        )
    if end < length:
        raise ValueError(f"{length - end} bytes at its end belong to no tensor")
    return SafetensorsHeader(tuple(spans), metadata)


def encode_header(tensors: Iterable[tuple[str, str, Sequence[int], int]]) -> bytes:
    """The beginning of a file whose tensors follow in this order: name, dtype, shape and size in
    bytes of each."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, shape, size in tensors:
        begin, end = end, end + size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_part(source: Path, spans: Sequence[Span], target: Path) -> None:
    """Write a file with these tensors of another one, in bounded memory."""
    header = encode_header((span.name, span.dtype, span.shape, span.size) for span in spans)
    with source.open("rb", buffering=0) as read, target.open("xb") as written:
        written.write(header)
        for span in spans:
            read.seek(span.offset)
            left = span.size
            while left:
                data = read.read(min(left, _COPY))
                if not data:
                    raise SourceError(f"{source} became shorter while it was read", code="PHI106")
                written.write(data)
                left -= len(data)


def _span(name: str, fields: dict[str, Any], start: int) -> Span:
    if not name.isprintable() or len(name) > _LONGEST_NAME:
        raise ValueError(f"{name[:_LONGEST_NAME]!r} is not the name of a tensor")
    begin, end = fields["data_offsets"]
    shape = tuple(fields["shape"])
    numbers = (begin, end, *shape)
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"tensor {name!r} has {len(shape)} dimensions")
    if any(not isinstance(number, int) or isinstance(number, bool) for number in numbers):
        raise ValueError(f"tensor {name!r} has offsets or a shape that are not integers")
    if min(numbers) < 0 or max(numbers) > _LARGEST_NUMBER:
        raise ValueError(f"tensor {name!r} has offsets or a shape that no file has")
    if (end - begin) * 8 != math.prod(shape) * _BITS[fields["dtype"]]:
        raise ValueError(f"tensor {name!r} does not have the size that its type and shape need")
    return Span(name, fields["dtype"], shape, start + begin, end - begin)


def _bytes_on_disk(descriptor: int) -> int:
    """How many bytes of a file are not in holes. File systems without holes have none."""
    end = begin = count = 0
    try:
        while True:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, begin, os.SEEK_HOLE)
            count += end - begin
    except OSError:  # no data comes after the last hole
        return count
