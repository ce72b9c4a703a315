"""Where the files and tensors of an artifact lie, as the plugin of its format describes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from phibuild.api import Description, Tensor, describe_contents
from phibuild_delta.records import MOST_FIELDS, Field
from phibuild_delta.spaces import File

_HALF, _SINGLE = Field(2, is_number=True), Field(4, is_number=True)
PLAIN = (Field(1),)
_NUMBERS = {
    **dict.fromkeys(("f32", "float32"), (_SINGLE,)),
    **dict.fromkeys(("f16", "float16", "bf16", "bfloat16"), (_HALF,)),
}
"""The fields of tensors that are not quantized, by the name of their type in small letters."""


class TensorPlace(NamedTuple):
    """A tensor, where its bytes begin in the artifact's space, and the fields of its blocks."""

    name: str
    type: str
    offset: int
    size: int
    fields: tuple[Field, ...] = PLAIN


class Contents(NamedTuple):
    """The files of an artifact, or of the container that it is, and the tensors in them."""

    files: tuple[File, ...]
    tensors: tuple[TensorPlace, ...]


def contents_of(root: Path, files: Sequence[File]) -> Contents:
    """The contents as far as they are known: no tensors if no plugin reads the format."""
    description = describe_contents(root)
    if description is None:
        return Contents(tuple(files), ())
    inner = tuple(File(file.path, file.size, start=file.offset) for file in description.files)
    return Contents(inner or tuple(files), tuple(_places(description, files)))


def _places(description: Description, files: Sequence[File]) -> Iterator[TensorPlace]:
    by_path = {file.path: file for file in files}
    for tensor in description.tensors:
        file = by_path.get(tensor.file)
        if tensor.offset is None or not tensor.size or file is None:
            continue
        if tensor.offset + tensor.size <= file.size:
            start = file.start + tensor.offset
            yield TensorPlace(tensor.name, tensor.type, start, tensor.size, _fields(tensor))


def _fields(tensor: Tensor) -> tuple[Field, ...]:
    fields = tuple(Field(*field) for field in tensor.block)
    if not fields:
        return _NUMBERS.get(tensor.type.lower(), PLAIN)
    is_valid = len(fields) <= MOST_FIELDS and all(field.is_valid for field in fields)
    return fields if is_valid else PLAIN
