"""Reads the constants and notes of an IR's XML, without a document type or entities.

The format: <net> holds <layers> and <rt_info>. A <layer type="Const"> has one <data> with the
element type, the shape and the offset of its bytes in the .bin file beside it; bodies of loops and
branches have further layers in the same way. Below the <rt_info> of <net> itself, an element's
`value` is a note whose name is the path of tags to it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from phibuild.api import PhiError, open_regular

_UNREADABLE = "PHI303"
_LARGEST = 256 << 20
_MOST_CONSTANTS = 1 << 18
_MOST_DIMENSIONS = 16
_DEEPEST = 256
BITS = {
    **dict.fromkeys(("u1",), 1),
    **dict.fromkeys(("u2", "i2"), 2),
    **dict.fromkeys(("u3",), 3),
    **dict.fromkeys(("u4", "i4", "nf4", "f4e2m1"), 4),
    **dict.fromkeys(("u6",), 6),
    **dict.fromkeys(("u8", "i8", "boolean", "f8e4m3", "f8e5m2", "f8e8m0"), 8),
    **dict.fromkeys(("f16", "bf16", "u16", "i16"), 16),
    **dict.fromkeys(("f32", "u32", "i32"), 32),
    **dict.fromkeys(("f64", "u64", "i64"), 64),
}
"""Bits of one element of each type; text (`string`) has no fixed size."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant of the graph and where its bytes are, `offset` and `size` in bytes."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(slots=True)
class _Contents:
    """The contents so far; `path` has the open tags."""

    path: list[str] = field(default_factory=list)
    layers: list[tuple[str, str]] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.path and tag != "net":
            raise ValueError(f"the root is <{tag}> and not <net>")
        if len(self.path) == _DEEPEST:
            raise ValueError("its elements are nested too deeply")
        self.path.append(tag)
        if tag == "layer":
            self.layers.append((attributes.get("name", ""), attributes.get("type", "")))
        elif tag == "data" and self.path[-2] == "layer" and self.layers[-1][1] == "Const":
            if len(self.constants) == _MOST_CONSTANTS:
                raise ValueError(f"it has more than {_MOST_CONSTANTS:,} constants")
            self.constants.append(_constant(self.layers[-1][0], attributes))
        elif self.path[1:2] == ["rt_info"] and "value" in attributes and tag != "info":
            self.notes.append((".".join(self.path[2:]), attributes["value"]))

    def end(self, tag: str) -> None:
        self.path.pop()
        if tag == "layer":
            self.layers.pop()


def read_ir(document: Path) -> tuple[tuple[Constant, ...], tuple[tuple[str, str], ...]]:
    """The constants, in order, and the notes of an IR's .xml file.

    PhiError PHI303 if it is not XML, has a document type (whose entities could grow without bound),
    or refers to bytes that its .bin file does not have.
    """
    contents = _Contents()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = contents.start
    parser.EndElementHandler = contents.end
    try:
        with open_regular(document) as file:
            if os.fstat(file.fileno()).st_size > _LARGEST:
                raise ValueError(f"it is larger than the {_LARGEST:,} bytes of any IR")
            parser.ParseFile(file)
        stored = document.with_suffix(".bin").stat().st_size
        for constant in contents.constants:
            _check_bounds(constant, stored)
    except (OSError, ValueError, KeyError, expat.ExpatError) as error:
        raise PhiError(
            f"{document} is not a readable IR: {error}",
            hint="build the artifact again",
            code=_UNREADABLE,
        ) from None
    return tuple(contents.constants), tuple(contents.notes)


def _refuse_document_type(*_: object) -> None:
    raise ValueError("it has a document type, which no IR has")


def _constant(name: str, attributes: dict[str, str]) -> Constant:
    parts = attributes["shape"].split(",", maxsplit=_MOST_DIMENSIONS)
    if len(parts) > _MOST_DIMENSIONS:
        raise ValueError(f"{name} has more than {_MOST_DIMENSIONS} dimensions")
    shape = tuple(int(part) for part in parts if part.strip())
    return Constant(
        name,
        attributes["element_type"],
        shape,
        int(attributes["offset"]),
        int(attributes["size"]),
    )


def _check_bounds(constant: Constant, stored: int) -> None:
    """ValueError if a constant's bytes are not in the file, or too few or many for its shape."""
    name, offset, size = constant.name, constant.offset, constant.size
    if offset < 0 or size < 0 or offset + size > stored:
        raise ValueError(f"{name} is at {offset} to {offset + size}, in a file of {stored} bytes")
    elements = 1
    for length in constant.shape:
        if length < 0:
            raise ValueError(f"{name} has the shape {constant.shape}")
        elements *= length
    bits = BITS.get(constant.type)
    if bits is not None and size != (elements * bits + 7) // 8:
        raise ValueError(f"{name} has {size} bytes for {elements} values of {constant.type}")
