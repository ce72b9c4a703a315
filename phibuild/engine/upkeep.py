"""Repairing installed toolchains, and removing them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from phibuild.engine.building.realize import realize_tool
from phibuild.engine.building.tools import installed_tool, tool_tree
from phibuild.engine.placing.cleaning import named_files, remove_empty_folders
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PhiError
from phibuild.model.tree import Tree
from phibuild.store.index import hash_file
from phibuild.store.leases import unleased
from phibuild.store.survey import read_result
from phibuild.toolchain.inventory import CHANGED, FileDifference
from phibuild.toolchain.removal import Removal, remove_link


def repair(shop: Workshop, name: str, damage: list[FileDifference]) -> None:
    """Install a damaged toolchain again."""
    changed = [difference.path for difference in damage if difference.how == CHANGED]
    if name not in shop.registry.natives:
        interpreters, offer = shop.toolchains.interpreters, shop.toolchains.python(name)
        with shop.store.locked(f"toolchain-{interpreters.path_of(offer).name}"):
            interpreters.forget_packages(offer, changed)
            interpreters.remove(offer)
        shop.toolchains.python_of(name)
        return
    prefix = installed_tool(shop, name)
    tree = tool_tree(shop, name)
    for entry in tree.entries if tree is not None else ():
        place = shop.store.object_path(entry)
        # A large file is a link to its object, which then has the change, too.
        if entry.path in changed and place.exists() and hash_file(place) != entry.digest:
            shop.store.discard(place)
    with shop.store.locked(f"toolchain-{prefix.name}"):
        for difference in damage:
            (prefix / difference.path).unlink(missing_ok=True)
    realize_tool(shop, name)


def remove_tool(shop: Workshop, name: str) -> Removal:
    """Remove the files of an installed native toolchain that its result names; the caller holds its
    lock. Files that somebody added stay, and so does a folder of unknown content."""
    prefix = installed_tool(shop, name)
    removal = remove_link(prefix)
    if removal is not None:
        return removal
    tree = tool_tree(shop, name)
    if tree is None or not prefix.is_dir():
        return Removal.NOT_OWN
    return _remove_files(prefix, tree)


def remove_unused(shop: Workshop, *, dry_run: bool) -> list[Path]:
    """Remove the toolchains that the plugins here do not name and no running build uses, and what
    only they needed of uv's cache; returns their folders. Another user of the store may need one:
    it is installed again then."""
    interpreters = shop.toolchains.interpreters
    pythons = interpreters.others(shop.registry.pythons.values())
    natives = _other_natives(shop)
    with unleased(shop.store.root, [path.name for path in (*pythons, *natives)]) as names:
        pythons = [path for path in pythons if path.name in names]
        natives = {path: tree for path, tree in natives.items() if path.name in names}
        if not dry_run:
            for folder in pythons:
                interpreters.remove_folder(folder)
            for folder, tree in natives.items():
                _remove_files(folder, tree)
    if pythons and not dry_run:
        interpreters.prune_cache()
    return [*pythons, *natives]


def _remove_files(prefix: Path, tree: Tree) -> Removal:
    for path in named_files(prefix, tree):
        path.unlink()
    return Removal.PARTLY if remove_empty_folders(prefix, tree) else Removal.REMOVED


def _other_natives(shop: Workshop) -> dict[Path, Tree]:
    """The installed native toolchains of earlier builds, with their files."""
    current = set()
    for name in shop.registry.natives:
        with suppress(PhiError):  # without a compiler
            current.add(installed_tool(shop, name))
    folders = {
        path.name.rpartition("-")[2]: path
        for path in shop.toolchains.interpreters.root.glob("*-*")
        if path.is_dir() and not path.is_symlink() and path not in current
    }
    natives = {}
    for path in (shop.store.root / "results").glob("[!.]*"):
        folder = folders.get(path.name[:12])
        result = read_result(path) if folder is not None else None
        if folder is not None and result is not None:
            natives[folder] = result.tree
    return natives
