"""The tensors of an ONNX artifact, read without the onnx package: model.onnx's initializers.

Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (ModelProto, GraphProto,
TensorProto, StringStringEntryProto).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from phibuild.api import (
    Description,
    PhiError,
    Tensor,
    open_regular,
    read_regular,
    strict_json,
)
from phibuild_onnx.protobuf import fields, varints

_GRAPH, _PRODUCER, _PRODUCER_VERSION = 7, 2, 3
_INITIALIZER = 5
_DIMS, _TYPE, _NAME, _RAW, _EXTERNAL = 1, 2, 8, 9, 13
_KEY, _VALUE = 1, 2
_SHOWN = ("type", "context_length", "vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")
_LARGEST_CONFIG = 16 << 20
_MOST_TENSORS = 1 << 18
_MOST_DIMENSIONS = 16
_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
    21: "uint4", 22: "int4",
}  # fmt: skip


def describe(path: Path) -> Description:
    """Tensors and generation settings. PhiError PHI303 for a path that is not such a folder, or
    whose external data is outside of it."""
    try:
        text = read_regular(path / "genai_config.json", most=_LARGEST_CONFIG).decode("utf-8")
        config = strict_json(text)
        with open_regular(path / "model.onnx") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        # Not closed here: a failure's traceback holds slices of it, and closing would raise
        # BufferError and hide the failure.
        return _description(memoryview(mapped), path, config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PhiError(
            f"{path} is not an ONNX Runtime GenAI model: {error}",
            hint="name the folder that holds model.onnx and genai_config.json",
            code="PHI303",
        ) from None


def _description(model: memoryview, folder: Path, config: dict[str, Any]) -> Description:
    tensors: list[Tensor] = []
    metadata = [
        (f"model.{name}", str(config["model"][name])) for name in _SHOWN if name in config["model"]
    ]
    for number, value in fields(model):
        if number in (_PRODUCER, _PRODUCER_VERSION) and isinstance(value, memoryview):
            name = "producer" if number == _PRODUCER else "producer_version"
            metadata.append((name, bytes(value).decode()))
        elif number == _GRAPH and isinstance(value, memoryview):
            for inner, tensor in fields(value):
                if inner == _INITIALIZER and isinstance(tensor, memoryview):
                    if len(tensors) == _MOST_TENSORS:
                        raise ValueError(f"it has more than {_MOST_TENSORS:,} initializers")
                    tensors.append(_tensor(tensor, folder))
    return Description("ONNX", tuple(tensors), tuple(metadata))


def _tensor(message: memoryview, folder: Path) -> Tensor:
    shape: list[int] = []
    kind, name, size = 0, "", 0
    external: dict[str, str] = {}
    for number, value in fields(message):
        if number == _DIMS:
            shape += _dimensions(value) if isinstance(value, memoryview) else [value]
            if len(shape) > _MOST_DIMENSIONS:
                raise ValueError(f"a tensor has more than {_MOST_DIMENSIONS} dimensions")
        elif number == _TYPE and isinstance(value, int):
            kind = value
        elif number == _NAME and isinstance(value, memoryview):
            name = bytes(value).decode()
        elif number == _RAW and isinstance(value, memoryview):
            size = len(value)
        elif number == _EXTERNAL and isinstance(value, memoryview):
            pair = {n: bytes(v).decode() for n, v in fields(value) if isinstance(v, memoryview)}
            external[pair[_KEY]] = pair.get(_VALUE, "")
    tensor = Tensor(name, _TYPES.get(kind, f"type {kind}"), tuple(shape), size)
    return _external(tensor, external, folder) if external else tensor


def _dimensions(packed: memoryview) -> Iterator[int]:
    return islice(varints(packed), _MOST_DIMENSIONS + 1)


def _external(tensor: Tensor, external: dict[str, str], folder: Path) -> Tensor:
    """The tensor with the position of its bytes in the file beside the model."""
    name = tensor.name
    file = folder / external["location"]
    if Path(external["location"]).name != external["location"]:
        raise ValueError(f"the data of {name!r} is outside of the folder")
    begin, size = int(external.get("offset", "0")), int(external.get("length", "0"))
    if begin < 0 or size < 0 or begin + size > file.stat().st_size:
        raise ValueError(f"the data of {name!r} ends beyond {file.name}")
    return tensor._replace(size=size, offset=begin, file=file.name)
