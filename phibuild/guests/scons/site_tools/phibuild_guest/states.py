"""The states of files, by stat: equal states mean that nothing was written in between."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MANIFEST = ".phi.json"


def state_of_artifact(path: Path) -> list[Any]:
    """The state of the files that its manifest names; empty if a file is missing."""
    files = read_json(Path(f"{path}{MANIFEST}")).get("files", [])
    states = [_state(path / file["path"])[:2] for file in files]
    return [] if [] in states else states  # without ctime, which the store's next link changes


def state_of_folder(folder: Path) -> list[Any]:
    """The state of all files inside; a new or missing file changes it."""
    return [[str(path.relative_to(folder)), *_state(path)] for path in _walk(folder)]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one if there is none."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def write(path: Path, text: str) -> None:
    """Write beside and rename over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, "utf-8")
    beside.replace(path)


def _state(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(str(folder)):
        folders.sort()
        for name in sorted(names):
            yield Path(place, name)
