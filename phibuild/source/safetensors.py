"""The header of a safetensors file, read and distrusted.

Format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors' bytes
(https://huggingface.co/docs/safetensors, section Format).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.model.errors import SourceError

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "U16": 16, "I16": 16,
    "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
_LONGEST_HEADER = 100_000_000
"""The limit of the reference implementation."""
_COPY = 16 << 20


class Span(NamedTuple):
    """Where a tensor lies in its file: `begin` counts from the start of the file, size in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    size: int


def read_spans(path: Path) -> tuple[Span, ...]:
    """The tensors of a file in the order of their bytes.

    SourceError PHI102 if the file is truncated, or the header is not JSON of the right shape, or a
    tensor's offsets leave the file, overlap, leave gaps, or disagree with its type and shape.
    """
    length = path.stat().st_size
    with path.open("rb") as stream:
        header_size = int.from_bytes(stream.read(8), "little")
        if length < 8 or header_size > min(_LONGEST_HEADER, length - 8):
            raise _bad(path, "the file ends inside its header; is the download complete?")
        text = stream.read(header_size)
    start = 8 + header_size
    try:
        header = json.loads(text)
        spans = [_span(name, fields, start) for name, fields in header.items() if name[:2] != "__"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(path, f"the header is not a safetensors header ({error})") from None
    spans.sort(key=lambda span: (span.begin, span.size))
    end = start
    for span in spans:
        if span.begin != end:
            raise _bad(path, f"the header puts tensor {span.name!r} in the wrong place")
        end += span.size
    if end > length:
        raise _bad(
            path, f"the file is {length} bytes and should be {end}; is the download complete?"
        )
    if end < length:
        raise _bad(path, f"{length - end} bytes at its end belong to no tensor")
    return tuple(spans)


def write_part(source: Path, spans: Sequence[Span], target: Path) -> None:
    """Write a file with these tensors of another one, in bounded memory."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for span in spans:
        begin, end = end, end + span.size
        header[span.name] = {
            "dtype": span.dtype,
            "shape": span.shape,
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb", buffering=0) as read, target.open("xb") as written:
        written.write(len(text).to_bytes(8, "little") + text)
        for span in spans:
            read.seek(span.begin)
            left = span.size
            while left:
                data = read.read(min(left, _COPY))
                if not data:
                    raise SourceError(f"{source} became shorter while it was read", code="PHI106")
                written.write(data)
                left -= len(data)


def _span(name: str, fields: dict[str, Any], start: int) -> Span:
    begin, end = fields["data_offsets"]
    shape = tuple(fields["shape"])
    numbers = (begin, end, *shape)
    if any(not isinstance(number, int) or isinstance(number, bool) for number in numbers):
        raise ValueError(f"tensor {name!r} has offsets or a shape that are not integers")
    if min(numbers) < 0 or (end - begin) * 8 != math.prod(shape) * _BITS[fields["dtype"]]:
        raise ValueError(f"tensor {name!r} does not have the size that its type and shape need")
    return Span(name, fields["dtype"], shape, start + begin, end - begin)


def _bad(path: Path, problem: str) -> SourceError:
    return SourceError(
        f"{path}: {problem}", hint="fetch the file again and compare its sha256", code="PHI102"
    )
