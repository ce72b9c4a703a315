"""The user's settings of a store, kept in it: its limit, and the pinned results.

The limit is a number of bytes in the file `limit`. A pin is a file in `pins/`: its name is the key,
its text the artifact's name. A setting that cannot be read has no effect.
"""

from __future__ import annotations

import re
from pathlib import Path

from phibuild.model.digest import Digest
from phibuild.store.files import write_text

_KEY = re.compile(r"[0-9a-f]{64}")


def limit_of(root: Path) -> int | None:
    """The limit in bytes; None if there is none."""
    try:
        return int((root / "limit").read_text("ascii"))
    except (OSError, ValueError):
        return None


def set_limit(root: Path, size: int | None) -> None:
    """Set the limit, or remove it."""
    if size is None:
        (root / "limit").unlink(missing_ok=True)
    else:
        write_text(root / "limit", f"{size}\n")


def pins_of(root: Path) -> dict[Digest, str]:
    """The pinned results, and the name of each."""
    try:
        paths = sorted(path for path in (root / "pins").iterdir() if _KEY.fullmatch(path.name))
    except OSError:
        return {}
    return {Digest(path.name): _text_of(path) for path in paths}


def pin(root: Path, key: Digest, name: str) -> None:
    """Keep a result and those of its inputs, whatever the limit."""
    write_text(root / "pins" / key.hex, name)


def unpin(root: Path, key: Digest) -> bool:
    """Remove a pin; whether there was one."""
    try:
        (root / "pins" / key.hex).unlink()
    except FileNotFoundError:
        return False
    return True


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
