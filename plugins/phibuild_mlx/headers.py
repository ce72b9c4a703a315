"""The tensors of a safetensors file by its header, which is not believed before it is checked.

Format: eight bytes with the length of a JSON object, the object, then the bytes of the tensors
(https://huggingface.co/docs/safetensors, section Format).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from phibuild.api import SourceError, Tensor, open_regular, strict_json

_BITS: Mapping[str, int] = MappingProxyType(
    {"U8": 8, "I8": 8, "BOOL": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16}
    | {"U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64}
)
_LONGEST_HEADER = 16 << 20
"""Room for 100,000 tensors in one file."""


def read_tensors(path: Path) -> tuple[Tensor, ...]:
    """The tensors in the order of their bytes.

    SourceError PHI102 for a header that is cut off, is no such header, or says of a tensor what
    cannot be: a size that is not its type and shape's, or a place that is not in the file.
    """
    try:
        with open_regular(path) as file:
            head = file.read(8)
            room = os.fstat(file.fileno()).st_size - 8
            size = int.from_bytes(head, "little")
            if len(head) < 8 or size > min(room, _LONGEST_HEADER):
                raise _lie(path, "its header is cut off")
            text = file.read(size)
    except OSError as error:
        raise _lie(path, f"it cannot be read: {error}") from None
    try:
        header = strict_json(text.decode("utf-8"))
        header.pop("__metadata__", None)
        places = {name: _tensor(name, fields) for name, fields in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _lie(path, f"its header is not one: {error}") from None
    for begin, tensor in places.values():
        if begin + tensor.size > room - size:
            raise _lie(path, f"it ends before tensor {tensor.name!r} does")
    return tuple(
        tensor._replace(offset=8 + size + begin, file=path.name)
        for begin, tensor in sorted(places.values(), key=lambda place: place[0])
    )


def _tensor(name: str, fields: Mapping[str, Any]) -> tuple[int, Tensor]:
    """Where the tensor begins among the tensors' bytes, and the tensor."""
    begin, end = fields["data_offsets"]
    shape = tuple(fields["shape"])
    if any(type(number) is not int or number < 0 for number in (begin, end, *shape)):
        raise ValueError(f"tensor {name!r} has a shape or a place that is not of whole numbers")
    if (end - begin) * 8 != math.prod(shape) * _BITS[fields["dtype"]]:
        raise ValueError(f"tensor {name!r} does not have the size that its type and shape need")
    return begin, Tensor(name, fields["dtype"], shape, end - begin)


def _lie(path: Path, problem: str) -> SourceError:
    return SourceError(f"{path}: {problem}", hint="build the artifact again", code="PHI102")
