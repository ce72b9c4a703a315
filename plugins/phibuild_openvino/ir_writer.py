"""Writing an IR whose bytes depend on the model alone.

OpenVINO names each node that nobody named by its kind and a running number, which counts all nodes
that the process has made: those that it made to compute with on this CPU too.
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

    def number(found: re.Match[str]) -> str:
        if found[1] not in kinds:
            return found[0]
        return f"{found[1]}_{numbers.setdefault(found[0], len(numbers))}"

    return _NAMES.sub(lambda names: _NUMBERED.sub(number, names[0]), _NET.sub("0", text))
