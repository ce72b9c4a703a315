"""Reading an artifact for `phibuild show`: its header, with the standard library alone.

A header can lie, so nothing in it is used before it is checked.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from phibuild.api import Description, SourceError, Tensor

_SIZES = {"I8": 1, "F16": 2, "BF16": 2, "F32": 4}


def describe(path: Path) -> Description:
    """SourceError PHI102 for a file that is not such an artifact, or is damaged."""
    length = path.stat().st_size
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(size) if size <= length - 8 else b""
    try:
        header = json.loads(text)
        recipe = json.loads(header.pop("__metadata__")["int8"])
        tensors = [_tensor(name, fields, 8 + size, length) for name, fields in header.items()]
        metadata = tuple((str(name), str(value)) for name, value in recipe.items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{path} is not a file of Int8Safetensors, or is damaged: {error}",
            hint="build it again",
            code="PHI102",
        ) from None
    return Description("safetensors-int8", tuple(sorted(tensors, key=_name)), metadata)


def _tensor(name: str, fields: dict[str, Any], start: int, length: int) -> Tensor:
    begin, end = fields["data_offsets"]
    shape = tuple(fields["shape"])
    if any(type(number) is not int or number < 0 for number in (begin, end, *shape)):
        raise ValueError(f"{name} has a shape or a place that is not of whole numbers")
    if start + end > length or end - begin != math.prod(shape) * _SIZES[fields["dtype"]]:
        raise ValueError(f"{name} is not where or not as large as the header says")
    return Tensor(name, fields["dtype"], shape, end - begin, start + begin)


def _name(tensor: Tensor) -> str:
    return tensor.name
