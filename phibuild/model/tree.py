"""A tree: a sorted list of (path, digest, size, executable); a file is a tree of one entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from phibuild.model.digest import Digest, digest_of_value

THE_FILE = "."
"""The path of the only entry when the tree is a single file rather than a folder."""


class Entry(NamedTuple):
    """One file: its path inside the tree (POSIX), the digest of its bytes, size in bytes."""

    path: str
    digest: Digest
    size: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    """The result of an action. Entries are sorted by path and stay inside the tree."""

    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        paths = [entry.path for entry in self.entries]
        if paths != sorted(set(paths)):
            raise ValueError("a tree's entries are sorted by path, and no path appears twice")
        for path in paths:
            if "\0" in path:
                raise ValueError(f"no file can have the path {path!r}")
            pure = PurePosixPath(path)
            if path != THE_FILE and (pure.is_absolute() or ".." in pure.parts or not pure.parts):
                raise ValueError(f"the path {path!r} leaves the tree")

    @property
    def is_file(self) -> bool:
        return len(self.entries) == 1 and self.entries[0].path == THE_FILE

    @property
    def size(self) -> int:
        """Sum of the files' sizes in bytes."""
        return sum(entry.size for entry in self.entries)

    @property
    def digest(self) -> Digest:
        """Digest of the bytes for a file, of the list of entries for a folder."""
        return self.entries[0].digest if self.is_file else digest_of_value(self.as_json())

    def part(self, path: str) -> Tree:
        """The file or folder at this path inside the tree; KeyError if there is none."""
        for entry in self.entries:
            if entry.path == path:
                return Tree((entry._replace(path=THE_FILE),))
        inside = tuple(
            entry._replace(path=entry.path[len(path) + 1 :])
            for entry in self.entries
            if entry.path.startswith(f"{path}/")
        )
        if not inside:
            raise KeyError(path)
        return Tree(inside)

    def as_json(self) -> list[dict[str, Any]]:
        """The entries as JSON objects, in order."""
        return [
            {
                "path": entry.path,
                "digest": str(entry.digest),
                "size": entry.size,
                "executable": entry.executable,
            }
            for entry in self.entries
        ]

    @classmethod
    def from_json(cls, entries: list[dict[str, Any]]) -> Tree:
        """The inverse of `as_json`; ValueError, KeyError or TypeError for anything else."""
        return cls(tuple(map(_entry, entries)))


def _entry(fields: dict[str, Any]) -> Entry:
    path, size = fields["path"], fields["size"]
    if type(path) is not str or type(size) is not int or size < 0:
        raise ValueError(f"{path!r} with a size of {size!r} is not a file")
    return Entry(path, Digest.parse(fields["digest"]), size, bool(fields["executable"]))
