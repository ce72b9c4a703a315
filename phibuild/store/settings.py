"""What the user decided about a store, kept in it: its limit, and the results that are to stay.

The limit is a number of bytes in the file `limit`; each pin is a file in `pins/` that has the key
for its name and what was pinned as its text. What cannot be read was not decided.
"""

from __future__ import annotations

import re
from pathlib import Path

from phibuild.model.digest import Digest
from phibuild.store.files import write_text

_KEY = re.compile(r"[0-9a-f]{64}")


def limit_of(root: Path) -> int | None:
    """The bytes that the store keeps to; None if there is no limit."""
    try:
        return int((root / "limit").read_text("ascii"))
    except (OSError, ValueError):
        return None


def set_limit(root: Path, size: int | None) -> None:
    """Set the limit, or take it away."""
    if size is None:
        (root / "limit").unlink(missing_ok=True)
    else:
        write_text(root / "limit", f"{size}\n")


def pins_of(root: Path) -> dict[Digest, str]:
    """The pinned results, and what each was when it was pinned."""
    try:
        paths = sorted(path for path in (root / "pins").iterdir() if _KEY.fullmatch(path.name))
    except OSError:
        return {}
    return {Digest(path.name): _text_of(path) for path in paths}


def pin(root: Path, key: Digest, what: str) -> None:
    """Keep a result and all that it was made of, whatever the limit."""
    write_text(root / "pins" / key.hex, what)


def unpin(root: Path, key: Digest) -> bool:
    """Let a result go; whether it was pinned."""
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
