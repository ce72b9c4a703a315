"""Removing a native toolchain: the files that its action result names, and nothing else."""

from __future__ import annotations

from pathlib import Path

from phibuild.engine.building.realize import installed_tool
from phibuild.engine.keys import known_result
from phibuild.engine.placing.cleaning import named_files, remove_empty_folders
from phibuild.engine.workshop import Workshop
from phibuild.model.tree import Tree
from phibuild.toolchain.removal import Removal, remove_link


def remove_tool(shop: Workshop, name: str) -> Removal:
    """Remove the files of an installed toolchain; the caller holds its lock. Files that somebody
    added stay, and so does a folder that no result explains."""
    prefix = installed_tool(shop, name)
    ended = remove_link(prefix)
    if ended is not None:
        return ended
    known = known_result(shop, shop.native_build(name), None)
    if known is None or known[1] is None or not prefix.is_dir():
        return Removal.NOT_OWN
    return remove_files(prefix, known[1].tree)


def remove_files(prefix: Path, tree: Tree) -> Removal:
    """Remove the files of a toolchain that consists of this tree."""
    for path in named_files(prefix, tree):
        path.unlink()
    return Removal.PARTLY if remove_empty_folders(prefix, tree) else Removal.REMOVED
