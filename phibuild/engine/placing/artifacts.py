"""The artifacts on the disk: their manifests, and whether their files are unchanged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from phibuild.engine.declaration import Declaration
from phibuild.foreign import read_regular
from phibuild.model.errors import StoreError
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.model.tree import Tree
from phibuild.store import Store, lies_at

_LARGEST_MANIFEST = 64 << 20


class Artifacts:
    """Looks at artifacts. The store remembers the files that it placed, so that unchanged ones are
    not read."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def manifest_of(self, target: Path) -> Manifest | None:
        """The manifest beside an artifact; None if there is none or it is not valid."""
        path = Path(f"{target}{SUFFIX}")
        try:
            text = read_regular(path, most=_LARGEST_MANIFEST).decode("utf-8")
            return Manifest.from_text(text, where=str(path))
        except (OSError, UnicodeDecodeError, StoreError):
            return None

    def manifest_in_place(self, path: Path) -> Manifest | None:
        """The manifest of an artifact, if all its files are in place."""
        manifest = self.manifest_of(path)
        return manifest if manifest and self.is_in_place(manifest.tree, path) else None

    def is_in_place(self, tree: Tree, target: Path, *, allow_others: bool = False) -> bool:
        """Whether the files of a tree are at this path, unchanged; and no others beside them,
        unless that is allowed."""
        if not tree.is_file and not allow_others:
            try:
                names = set(_names(str(target)))
            except OSError:
                return False
            if names != {entry.path for entry in tree.entries}:
                return False
        return lies_at(self.store, tree, str(target))

    def is_placed(self, declaration: Declaration, tree: Tree) -> bool:
        """The same of a target, which may hold objects that other rules compiled from its files."""
        return self.is_in_place(
            tree, declaration.target, allow_others=declaration.is_compiled_in_place
        )


def _names(folder: str, prefix: str = "") -> Iterator[str]:
    """The paths of all files inside, in no order; links are files. Each null build walks here."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _names(entry.path, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name
