"""Reads the small files of a checkpoint; each error names the file and the remedy."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from phibuild.foreign import UnsuitableFile, open_regular, read_regular, strict_json
from phibuild.model.errors import SourceError

_LFS = b"version https://git-lfs.github.com/spec/"
_LONGEST_POINTER = 1024
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_AGAIN = "download the file again, or restore it"
_LARGEST = 16 << 20
_LARGEST_VOCABULARY = 64 << 20
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt")


def check_content(path: Path) -> bytes:
    """The first bytes of a file; SourceError PHI113 if its content was never downloaded, PHI103 if
    it is empty or not a file."""
    try:
        with open_regular(path) as stream:
            head = stream.read(_LONGEST_POINTER)
    except OSError as error:
        raise unreadable(path, error) from None
    if head.startswith(_LFS):
        raise SourceError(
            f"{path} is a git-lfs pointer: its content was not downloaded",
            hint=f"run `git lfs install` and `git lfs pull` in {path.parent}",
            code="PHI113",
        )
    if not head:
        raise SourceError(f"{path} is empty", hint=_AGAIN, code="PHI103")
    return head


def unreadable(path: Path, error: OSError) -> SourceError:
    """PHI101, PHI103, PHI106 or PHI113 for a file of the checkpoint that could not be read."""
    if isinstance(error, UnsuitableFile):
        return SourceError(
            f"{path} cannot be read: {error}",
            hint="replace it with the file of the published checkpoint",
            code="PHI103",
        )
    if error.errno == errno.ELOOP:
        return SourceError(
            f"{path} is a link that leads back to itself", hint=_AGAIN, code="PHI113"
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        if path.is_symlink():
            return SourceError(
                f"{path} is a link to {path.readlink()}, which does not exist",
                hint="download the checkpoint again: `hf download` completes what is missing",
                code="PHI113",
            )
        return SourceError(
            f"{path} disappeared while the checkpoint was read", hint=_AGAIN, code="PHI106"
        )
    if isinstance(error, PermissionError):
        problem, hint = "permission denied", "change its permissions, or those of its folder"
    else:
        problem, hint = error.strerror or str(error), _AGAIN
    return SourceError(f"{path} cannot be read: {problem}", hint=hint)


def read_content(path: Path) -> bytes:
    """All bytes of a small file; SourceError PHI101, PHI103, PHI106 or PHI113."""
    most = _LARGEST_VOCABULARY if path.name in _VOCABULARIES else _LARGEST
    try:
        return read_regular(path, most=most)
    except OSError as error:
        raise unreadable(path, error) from None


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, line ends as `\\n`; SourceError as `read_content`."""
    content = read_content(path)
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
    """A JSON object; SourceError as `read_json`."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise SourceError(
            f"{path} holds {kind_of(document)} and not a JSON object", hint=_AGAIN, code="PHI103"
        )
    return document


def read_json(path: Path) -> Any:
    """A JSON document with one meaning; SourceError PHI103, or as `read_content`."""
    text = read_text(path)
    try:
        return strict_json(text)
    except ValueError as error:
        raise SourceError(
            f"{path} is not JSON that every reader accepts: {error}", hint=_AGAIN, code="PHI103"
        ) from None


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
