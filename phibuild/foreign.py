"""Reads third-party files: regular files of a bounded size, and JSON with one meaning.

A pipe would block the build for ever, a device has no end, and a document may nest so deeply or
repeat its keys so that readers disagree. Every file that phibuild did not write is opened here.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

_MOST_VALUES = 4_000_000
"""Twice those of a tokenizer with 260,000 tokens and 510,000 merges. Each needs up to 72 bytes."""
_DEEPEST = 64
_MOST_DIGITS = 308
"""Of a whole number that a float can hold."""


class UnsuitableFile(OSError):
    """Not a regular file, or too large for its name."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading. OSError at once if it does not exist or cannot be read;
    UnsuitableFile for a folder, a pipe, a socket or a device."""
    _check_kind(os.stat(path))  # noqa: PTH116 - null builds come here; opening may act on a device
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check_kind(os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, *, most: int) -> bytes:
    """The content of a file of at most that many bytes; OSError as `open_regular`."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UnsuitableFile(f"it has {size:,} bytes, more than {most:,}")
        return file.read(size)


def kind_of_file(mode: int) -> str:
    """What lies at a path, for people, by its `st_mode`."""
    names = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFLNK: "a link",
    }
    return names.get(stat.S_IFMT(mode), "a device")


def strict_json(text: str) -> Any:
    """A JSON document in which no object repeats a key, each number fits into a float, and all text
    is Unicode; ValueError for any other, and for one that is nested too deeply or too large."""
    if text.count(",") + text.count("[") + text.count("{") > _MOST_VALUES:
        raise ValueError(f"it holds more than {_MOST_VALUES:,} values")
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_int=_whole_number,
            parse_float=_number,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deep(document):
        raise ValueError("it is nested too deeply")
    if "\\ud" in text or "\\uD" in text:
        _check_unicode(document)
    return document


def _check_kind(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsuitableFile(f"it is {kind_of_file(status.st_mode)} where a file belongs")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:100]!r} appears twice")
    return fields


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _whole_number(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"the number {text[:20]}... is too large")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]}... is too large")
    return value


def _is_deep(document: Any) -> bool:
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(_DEEPEST):
        level = [
            inner
            for value in level
            for inner in (value.values() if type(value) is dict else value)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


def _check_unicode(document: Any) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise ValueError(f"it holds half of a character, {half!r}: not Unicode text") from None
