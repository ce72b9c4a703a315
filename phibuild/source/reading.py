"""Reads the small files of a checkpoint; each error names the file and the way out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from phibuild.model.errors import SourceError

_LFS = b"version https://git-lfs.github.com/spec/"
_LONGEST_POINTER = 1024
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_AGAIN = "download the file again, or restore it"


def check_content(path: Path) -> bytes:
    """The first bytes of a file; SourceError PHI113 if its content was never downloaded, PHI103 if
    it is empty or not a file."""
    if path.is_symlink() and not path.exists():
        raise SourceError(
            f"{path} is a link to {path.readlink()}, which does not exist",
            hint="download the checkpoint again: `hf download` completes what is missing",
            code="PHI113",
        )
    if not path.exists():
        raise SourceError(
            f"{path} disappeared while the checkpoint was read", hint=_AGAIN, code="PHI106"
        )
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a device, a pipe or a socket"
        raise SourceError(
            f"{path} is {what} where a file belongs",
            hint="replace it by the file of the published checkpoint",
            code="PHI103",
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(_LONGEST_POINTER)
    except PermissionError:
        raise SourceError(
            f"{path} cannot be read: permission denied", hint="change its permissions"
        ) from None
    if head.startswith(_LFS):
        raise SourceError(
            f"{path} is a git-lfs pointer: its content was not downloaded",
            hint=f"run `git lfs install` and `git lfs pull` in {path.parent}",
            code="PHI113",
        )
    if not head:
        raise SourceError(f"{path} is empty", hint=_AGAIN, code="PHI103")
    return head


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, line ends as `\\n`; SourceError PHI103 or PHI113."""
    try:
        content = path.read_bytes()
    except OSError:
        check_content(path)
        raise
    head = content[: len(_LFS)]
    if not head or head == _LFS:
        check_content(path)
    if head.startswith(_BOM):
        raise SourceError(
            f"{path} begins with a byte order mark",
            hint='save the file as UTF-8 without BOM (editors call the other one "UTF-8-BOM")',
            code="PHI103",
        )
    if head.startswith(_WIDE):
        raise SourceError(
            f"{path} is UTF-16 text", hint="save the file as UTF-8 without BOM", code="PHI103"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path} is not UTF-8 text: {error}", hint="save the file as UTF-8", code="PHI103"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; SourceError PHI103 or PHI113."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise SourceError(
            f"{path} holds {kind_of(document)} and not a JSON object", hint=_AGAIN, code="PHI103"
        )
    return document


def read_json(path: Path) -> Any:
    """A JSON document in which each key is there once and each number is one: readers disagree
    about others. SourceError PHI103 or PHI113."""
    text = read_text(path)
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise SourceError(f"{path} is nested too deeply", hint=_AGAIN, code="PHI103") from None
    except UnicodeEncodeError as error:
        surrogate = error.object[error.start : error.end]
        raise SourceError(
            f"{path} has half of a character, {surrogate!r}: it is not Unicode text",
            hint=_AGAIN,
            code="PHI103",
        ) from None
    except ValueError as error:
        raise SourceError(f"{path} is not JSON: {error}", hint=_AGAIN, code="PHI103") from None
    return document


def kind_of(value: object) -> str:
    """What a JSON value is, for people."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "true or false",
        int: "an integer",
        float: "a number",
    }
    return names.get(type(value), "null")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")
