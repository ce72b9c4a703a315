"""Installed toolchains: where they are, and whether their files are unchanged."""

from __future__ import annotations

from pathlib import Path

from phibuild.engine.keys import recall
from phibuild.engine.workshop import Workshop
from phibuild.model.facts import action_key
from phibuild.model.tree import Tree
from phibuild.store.index import hash_file
from phibuild.toolchain.inventory import CHANGED, FileDifference


def installed_tool(shop: Workshop, name: str) -> Path:
    """The folder that a native toolchain is installed in, or would be."""
    key = action_key(shop.toolchains.build_facts(shop.toolchains.native_build(name)))
    return shop.store.root / "toolchains" / f"{name}-{key.hex[:12]}"


def tool_tree(shop: Workshop, name: str) -> Tree | None:
    """The files of a native toolchain; None if they are not known."""
    result = recall(shop, shop.toolchains.native_build(name), None)
    return result.tree if result is not None else None


def is_installed(shop: Workshop, name: str) -> bool:
    """Whether the toolchain of this name is installed, damaged or not."""
    if name in shop.registry.natives:
        return installed_tool(shop, name).is_dir()
    return shop.toolchains.interpreters.is_installed(shop.toolchains.python(name))


def differences(shop: Workshop, name: str, *, reads: bool) -> list[FileDifference] | None:
    """How an installed toolchain differs from what was installed; None if that is not known. Unless
    it `reads`, only sizes are compared."""
    if name not in shop.registry.natives:
        toolchains = shop.toolchains
        return toolchains.interpreters.differences(toolchains.python(name), reads=reads)
    tree = tool_tree(shop, name)
    if tree is None:
        return None
    return list(_in_prefix(installed_tool(shop, name), tree, reads=reads))


def _in_prefix(prefix: Path, tree: Tree, *, reads: bool) -> list[FileDifference]:
    differences = []
    for entry in tree.entries:
        path = prefix / entry.path
        if not path.is_file():
            differences.append(FileDifference(entry.path, "is missing"))
        elif path.stat().st_size != entry.size or (reads and hash_file(path) != entry.digest):
            differences.append(FileDifference(entry.path, CHANGED))
    return differences
