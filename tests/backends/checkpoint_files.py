"""Edits the files of a checkpoint as raw bytes: tensors of any name, dtype and shape."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BITS = {"F64": 64, "I64": 64, "F32": 32, "I32": 32, "BF16": 16, "F16": 16, "I16": 16}
BITS |= dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 8)
SINGLE = "model.safetensors"


class Stored(NamedTuple):
    """A tensor as safetensors has it; `shape` is (out, in), `data` little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


Tensors = dict[str, Stored]


def read_tensors(folder: Path) -> Tensors:
    """The tensors of all safetensors files of a folder, by name."""
    tensors: Tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        raw = path.read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        for name, entry in json.loads(raw[8:start]).items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                data = raw[start + begin : start + end]
                tensors[name] = Stored(entry["dtype"], tuple(entry["shape"]), data)
    return tensors


def write_file(path: Path, tensors: Mapping[str, Stored]) -> None:
    """Write one safetensors file."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        assert len(tensor.data) == math.prod(tensor.shape) * BITS[tensor.dtype] // 8, name
        end = offset + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    head = len(encoded).to_bytes(8, "little") + encoded
    path.write_bytes(head + b"".join(tensor.data for tensor in tensors.values()))


def write_tensors(folder: Path, tensors: Mapping[str, Stored]) -> None:
    """Replace all weights of a folder by one file."""
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    write_file(folder / SINGLE, tensors)


def change_tensors(folder: Path, change: Callable[[Tensors], Tensors | None]) -> None:
    """Edit the tensors of a folder; `change` returns new ones, or edits its argument."""
    tensors = read_tensors(folder)
    write_tensors(folder, change(tensors) or tensors)


def change_json(path: Path, **fields: Any) -> None:
    """Set fields of a JSON file; `...` removes one."""
    document = json.loads(path.read_bytes()) if path.exists() else {}
    document |= fields
    kept = {name: value for name, value in document.items() if value is not ...}
    path.write_text(json.dumps(kept, indent=2))


def values_of(tensor: Stored) -> Any:
    """The values of a BF16, F16 or F32 tensor as a float32 array."""
    if tensor.dtype == "BF16":
        wide = np.frombuffer(tensor.data, "<u2").astype("<u4") << 16
        return wide.view("<f4").reshape(tensor.shape).copy()
    kind = {"F16": "<f2", "F32": "<f4"}[tensor.dtype]
    return np.frombuffer(tensor.data, kind).astype("<f4").reshape(tensor.shape)


def stored(values: Any, dtype: str) -> Stored:
    """An array as a tensor; BF16 is rounded to nearest, ties to even."""
    array = np.asarray(values)
    if dtype == "BF16":
        bits = np.ascontiguousarray(array, "<f4").view("<u4")
        data = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    else:
        kinds = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "<i1", "U8": "<u1"}
        kinds |= {"I32": "<i4", "I64": "<i8", "F8_E4M3": "<u1", "F8_E5M2": "<u1", "BOOL": "<u1"}
        with np.errstate(over="ignore"):
            data = np.ascontiguousarray(array, kinds[dtype])
    return Stored(dtype, array.shape, data.tobytes())


def cast(tensor: Stored, dtype: str) -> Stored:
    """The same values in another floating point type."""
    return tensor if tensor.dtype == dtype else stored(values_of(tensor), dtype)
