"""A store whose format cannot be read: a new one, a damaged one, or a folder of the user's."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from phibuild.model.errors import StoreError
from phibuild.store.aside import MARK
from phibuild.store.files import write_text

_FOLDERS = frozenset(
    {"objects", "results", "leases", "locks", "logs", "pins", "plugins", "code", "work"}
)
_MAY_BE_THERE = frozenset({"lost+found", "toolchains", "uv", "bytecode"})
"""The folder of a file system, and possible links to another store."""
_ANOTHER = re.compile(r"phibuild-store/\d{1,9}\n?")
_INDEX = "index.sqlite"
_FILE = re.compile(r"index\.sqlite(-wal|-shm)?|plugins\.json|limit")


def open_damaged(root: Path, marker: Path, text: str) -> None:
    """Write the format of a new store or of a damaged one. StoreError PHI301 if the marker holds
    the format of another phibuild, PHI302 if the folder is the user's or cannot be used."""
    try:
        content = _text_of(marker)
        if content == text:
            return  # another process has just written it
        if _ANOTHER.fullmatch(content):
            raise StoreError(
                f"the store {root} has format {content.strip()!r}, not {text.strip()!r}",
                hint="update phibuild, or set PHIBUILD_STORE to another folder",
                code="PHI301",
            )
        root.mkdir(parents=True, exist_ok=True)
        is_new = not os.path.lexists(marker)
        others = sorted(_not_a_stores(root, marker))
        # Another process may be creating it at the same time.
        if others and (not is_new or not os.path.lexists(marker)):
            more = ", ..." if len(others) > 3 else ""
            raise StoreError(
                f"the folder {root} is not a store and is not empty:"
                f" it holds {', '.join(others[:3])}{more}",
                hint="set PHIBUILD_STORE to an empty folder, or to one that does not exist",
            )
        write_text(marker, text)
    except OSError as error:
        raise StoreError(
            f"the store {root} cannot be used: {error.strerror}",
            hint="set PHIBUILD_STORE to a folder that you may write to",
        ) from None
    if not is_new:
        print(f"phibuild: {marker} was damaged; it is written again", file=sys.stderr)


def _text_of(marker: Path) -> str:
    try:
        return marker.read_bytes()[:100].decode("utf-8", errors="replace")
    except OSError:
        return ""


def _not_a_stores(root: Path, marker: Path) -> Iterator[str]:
    """The names in a folder that no store has. Without an index among them, `code` or `results` may
    be the user's."""
    names = {path.name: path.name.partition(MARK)[0] for path in root.iterdir()}
    usual = _MAY_BE_THERE | {marker.name}
    if _INDEX in names and _holds_objects(root / "objects"):
        usual |= _FOLDERS
    for name, plain in names.items():
        is_half_written = name.startswith(f".{marker.name}.")
        if not (plain in usual or is_half_written or _FILE.fullmatch(plain)):
            yield name


def _holds_objects(folder: Path) -> bool:
    """Whether a folder holds what a store's objects are in, or is not one, by damage."""
    return not folder.is_dir() or all(
        re.fullmatch(r"[0-9a-f]{2}", path.name.partition(MARK)[0]) for path in folder.iterdir()
    )
