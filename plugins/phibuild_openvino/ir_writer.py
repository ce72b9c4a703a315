"""Writes an IR whose bytes depend only on the model.

OpenVINO names unnamed nodes by their kind and a running number, which counts all nodes of the
process, those for its own computing on this CPU included.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

MODEL = "openvino_model"
_KIND = re.compile(
    r'<layer id="\d+" name="(?:([A-Z][A-Za-z0-9]*)_\d+(?:[._][^"]*)?|[^"]*)" type="(\w+)"'
)
_NET = re.compile(r'(?<=<net name="Model)\d+(?=")')
_NAMES = re.compile(r'(?<= )(?:name|names|output_names)="[^"]*"')
_NUMBERED = re.compile(r'(?<=[",])([A-Za-z0-9]+)_\d+(?=[",._])')


def save(model: Any, document: Path, *, compress_to_fp16: bool = False) -> None:
    """Write `document`, a path that ends in .xml, and the .bin file beside it."""
    import openvino

    openvino.save_model(model, document, compress_to_fp16=compress_to_fp16)
    text = document.read_bytes().decode("utf-8")
    document.write_bytes(renumbered(text).encode("utf-8"))


def renumbered(text: str) -> str:
    """The XML of an IR with its running numbers counted from 0, in the order of the document."""
    kinds = {kind for kinds in _KIND.findall(text) for kind in kinds}
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        if match[1] not in kinds:
            return match[0]
        return f"{match[1]}_{numbers.setdefault(match[0], len(numbers))}"

    return _NAMES.sub(lambda names: _NUMBERED.sub(number, names[0]), _NET.sub("0", text))
