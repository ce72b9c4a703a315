"""A copy of an imatrix without the folders of whoever made it.

llama-imatrix notes the path of its text, and llama-quantize copies that note into the model: the
same imatrix made elsewhere would change the artifact. Standard library only; a part of the
quantizing worker.
"""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

from phiworker import WorkerError

from phibuild_gguf.format.header import Array, BadHeader, Entry, Header, read_header

_DATASETS = "imatrix.datasets"
_CHUNKS = "imatrix.chunk_count"
_STRING = 8


def copy_neutral(source: Path, target: Path) -> Header:
    """Write the copy and return its header. WorkerError PHI203 if the source is no imatrix."""
    header = _imatrix_header(source)
    note = next((entry for entry in header.entries if entry.key == _DATASETS), None)
    with source.open("rb") as old, target.open("wb") as new:
        if note is not None and note.value.length:
            new.write(old.read(note.start))
            new.write(_array_of_one(_last_part(note)))
            old.seek(note.end)
            new.write(old.read(header.end - note.end))
            new.write(bytes(-new.tell() % header.alignment))
            old.seek(header.data)
        shutil.copyfileobj(old, new)
    return read_header(target)


def _imatrix_header(path: Path) -> Header:
    try:
        header = read_header(path)
    except BadHeader as error:
        raise WorkerError(
            f"the imatrix is not a sound GGUF file: {error}",
            hint="an imatrix in the old format is rewritten by"
            " llama-imatrix --in-file old.dat -o new.gguf",
            code="PHI203",
        ) from error
    if header.value("general.type") != "imatrix":
        raise WorkerError(
            "the file given as imatrix is a GGUF file, but no imatrix",
            hint="make one by env.Imatrix(target, model, text=...)",
            code="PHI203",
        )
    for key, is_right in ((_DATASETS, _is_texts), (_CHUNKS, _is_count)):
        value = header.value(key)
        if value is not None and not is_right(value):
            raise WorkerError(
                f"the imatrix is damaged: its {key} is {value!r}",
                hint="make one by env.Imatrix(target, model, text=...)",
                code="PHI203",
            )
    return header


def _is_texts(value: object) -> bool:
    return isinstance(value, Array) and all(isinstance(one, str) for one in value.first)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 32


def _last_part(note: Entry) -> str:
    return re.split(r"[/\\]", str(note.value.first[0]))[-1]


def _array_of_one(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<IQQ", _STRING, 1, len(encoded)) + encoded
