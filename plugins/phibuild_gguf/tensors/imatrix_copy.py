"""A copy of an imatrix without the folders of the machine that made it.

llama-imatrix records the path of its text, and llama-quantize copies it into the model: the same
imatrix from another folder would change the artifact.
"""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

from phiworker import WorkerError

from phibuild_gguf.format.header import Array, BadHeader, GgufHeader, KeyValue, read_header

_DATASETS = "imatrix.datasets"
_CHUNKS = "imatrix.chunk_count"
_STRING = 8


def copy_without_paths(source: Path, target: Path) -> GgufHeader:
    """Write the copy and return its header. WorkerError PHI203 if the source is not an imatrix."""
    header = _imatrix_header(source)
    path = next((pair for pair in header.key_values if pair.key == _DATASETS), None)
    with source.open("rb") as old, target.open("wb") as new:
        if path is not None and path.value.length:
            new.write(old.read(path.start))
            new.write(_array_of_one(_file_name(path)))
            old.seek(path.end)
            new.write(old.read(header.end - path.end))
            new.write(bytes(-new.tell() % header.alignment))
            old.seek(header.data)
        shutil.copyfileobj(old, new)
    return read_header(target)


def _imatrix_header(path: Path) -> GgufHeader:
    try:
        header = read_header(path)
    except BadHeader as error:
        raise WorkerError(
            f"the imatrix is not a sound GGUF file: {error}",
            hint="convert an imatrix of the old format with"
            " llama-imatrix --in-file old.dat -o new.gguf",
            code="PHI203",
        ) from error
    if header.value("general.type") != "imatrix":
        raise WorkerError(
            "the file given as imatrix is a GGUF file, but not an imatrix",
            hint="make one with env.Imatrix(target, model, text=...)",
            code="PHI203",
        )
    for key, is_valid in ((_DATASETS, _is_texts), (_CHUNKS, _is_count)):
        value = header.value(key)
        if value is not None and not is_valid(value):
            raise WorkerError(
                f"the imatrix is damaged: its {key} is {value!r}",
                hint="make one with env.Imatrix(target, model, text=...)",
                code="PHI203",
            )
    return header


def _is_texts(value: object) -> bool:
    return isinstance(value, Array) and all(isinstance(text, str) for text in value.first)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 32


def _file_name(path: KeyValue) -> str:
    return re.split(r"[/\\]", str(path.value.first[0]))[-1]


def _array_of_one(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<IQQ", _STRING, 1, len(encoded)) + encoded
