"""The messages of workers as values, whatever bytes they send."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CODE = re.compile(r"PHI[1-8][0-9]{2}")


class Progress(NamedTuple):
    """This share of the work is done (None: unknown); `text` is what the worker does now."""

    fraction: float | None
    text: str


class Recall(NamedTuple):
    """The worker waits for the places of the pieces with these keys."""

    keys: tuple[str, ...]


class Remember(NamedTuple):
    """A range of a file, in the output of the request with this number, has this key."""

    number: int
    key: str
    file: str
    offset: int
    size: int
    sha256: str


class Written(NamedTuple):
    """A file, in the output of the request with this number, is complete and has this digest."""

    number: int
    file: str
    sha256: str


class Failure(NamedTuple):
    """The worker reports why it fails."""

    code: str
    message: str
    hint: str


class SystemFailure(NamedTuple):
    """The operating system refused something, with this error number."""

    errno: int


Message = Progress | Recall | Remember | Written | Failure | SystemFailure


class NotOfTheProtocol(ValueError):
    """A line that a worker meant as a message, but that is not one."""


def read_message(line: bytes) -> Message | None:
    """The message in a line; None for another line: a native library may write there, and a later
    protocol may have more messages. NotOfTheProtocol for a message that cannot be read."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        if b'"recall"' in line:
            raise NotOfTheProtocol(_shown(line)) from None
        return None
    if not isinstance(document, dict):
        return None
    for name, read in _READERS.items():
        if name in document:
            try:
                return read(document)
            except (KeyError, TypeError, ValueError, OverflowError):
                raise NotOfTheProtocol(_shown(line)) from None
    return None


def _progress(document: dict[str, Any]) -> Progress:
    fraction = document["progress"]
    if fraction is not None:
        fraction = float(_of(fraction, int, float))
        fraction = min(max(fraction, 0.0), 1.0) if math.isfinite(fraction) else None
    return Progress(fraction, _text(document["text"]))


def _recall(document: dict[str, Any]) -> Recall:
    return Recall(tuple(map(_text, _of(document["recall"], list))))


def _remember(document: dict[str, Any]) -> Remember:
    number, key, file, offset, size, sha256 = _of(document["remember"], list)
    return Remember(
        _count(number), _text(key), _name(file), _count(offset), _count(size), _sha256(sha256)
    )


def _written(document: dict[str, Any]) -> Written:
    number, file, sha256 = _of(document["written"], list)
    return Written(_count(number), _name(file), _sha256(sha256))


def _failure(document: dict[str, Any]) -> Failure:
    error = _of(document["error"], dict)
    code = _text(error["code"])
    if not _CODE.fullmatch(code):
        raise ValueError
    return Failure(code, _text(error["message"]), _text(error["hint"]))


def _system_failure(document: dict[str, Any]) -> SystemFailure:
    return SystemFailure(_count(document["errno"] or 0))


_READERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "error": _failure,
    "errno": _system_failure,
    "progress": _progress,
    "remember": _remember,
    "written": _written,
    "recall": _recall,
}


def _of(value: object, *types: type) -> Any:
    if not isinstance(value, types) or isinstance(value, bool):
        raise TypeError
    return value


def _text(value: object) -> str:
    """A string that can be encoded."""
    text: str = _of(value, str)
    return text.encode("utf-8", "replace").decode("utf-8")


def _name(value: object) -> str:
    """A path that does not lead out of the output."""
    name = _text(value)
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise ValueError
    return name


def _count(value: object) -> int:
    count: int = _of(value, int)
    if not 0 <= count < 1 << 63:
        raise ValueError
    return count


def _sha256(value: object) -> str:
    digits = _text(value)
    if not _SHA256.fullmatch(digits):
        raise ValueError
    return digits


def _shown(line: bytes) -> str:
    return line[:200].decode("utf-8", "replace")
