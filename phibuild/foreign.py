"""Reads what others wrote: regular files of a bounded size, and JSON that has one meaning.

A pipe would hold the build for ever, a device has no end, and a document may nest or repeat its
keys until no two readers agree. Everything that phibuild did not write is opened here.
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
"""Twice those of a tokenizer with 260,000 tokens and 510,000 merges. Each takes up to 72 bytes."""
_DEEPEST = 64
_MOST_DIGITS = 308
"""Of a whole number that a float can hold."""


class UnsuitableFile(OSError):
    """Something that is not a regular file, or that is too large to be what its name says."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading. OSError, without waiting, if there is none or it cannot be read;
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
            raise UnsuitableFile(f"it has {size:,} bytes, and at most {most:,} make sense")
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
    """A JSON document in which each key of an object is there once, each number is one that a
    float can hold, and all text is Unicode; ValueError for any other, and for one that nests or
    holds more values than any document that makes sense."""
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


def _check_kind(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnsuitableFile(f"it is {kind_of_file(found.st_mode)} where a file belongs")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:100]!r} is there twice")
    return found


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
            for one in level
            for inner in (one.values() if type(one) is dict else one)
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
        raise ValueError(f"it has half of a character, {half!r}: it is not Unicode text") from None
