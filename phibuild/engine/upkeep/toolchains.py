"""Installed toolchains: whether their files are those that were installed, repairing them, and
removing those that nobody uses."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from phibuild.engine.building.realize import installed_tool, realize_tool
from phibuild.engine.keys import known_result
from phibuild.engine.upkeep.removal import remove_files
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PhiError
from phibuild.model.tree import Tree
from phibuild.store.index import hash_file
from phibuild.store.leases import unleased
from phibuild.store.survey import read_result
from phibuild.toolchain.inventory import CHANGED, Difference


def is_installed(shop: Workshop, name: str) -> bool:
    """Whether the toolchain of this name is there, whole or not."""
    if name in shop.registry.natives:
        return installed_tool(shop, name).is_dir()
    return shop.interpreters.is_installed(shop.python_toolchain(name))


def differences(shop: Workshop, name: str, *, reads: bool) -> list[Difference] | None:
    """What is not as it was installed, of a toolchain that is; None if that is not known. Unless it
    `reads`, only sizes are compared."""
    if name not in shop.registry.natives:
        return shop.interpreters.differences(shop.python_toolchain(name), reads=reads)
    known = known_result(shop, shop.native_build(name), None)
    if known is None or known[1] is None:
        return None
    return list(_in_prefix(installed_tool(shop, name), known[1].tree, reads=reads))


def _in_prefix(prefix: Path, tree: Tree, *, reads: bool) -> list[Difference]:
    found = []
    for entry in tree.entries:
        path = prefix / entry.path
        if not path.is_file():
            found.append(Difference(entry.path, "is missing"))
        elif path.stat().st_size != entry.size or (reads and hash_file(path) != entry.digest):
            found.append(Difference(entry.path, CHANGED))
    return found


def repair(shop: Workshop, name: str, found: list[Difference]) -> None:
    """Install a damaged toolchain again."""
    changed = [one.path for one in found if one.how == CHANGED]
    if name not in shop.registry.natives:
        offer = shop.python_toolchain(name)
        with shop.store.locked(f"toolchain-{shop.interpreters.path_of(offer).name}"):
            shop.interpreters.forget_packages(offer, changed)
            shop.interpreters.remove(offer)
        shop.python_of(name)
        return
    prefix = installed_tool(shop, name)
    known = known_result(shop, shop.native_build(name), None)
    for entry in known[1].tree.entries if known is not None and known[1] is not None else ():
        place = shop.store.object_path(entry)
        # A large file is a link to its object, which then has the change, too.
        if entry.path in changed and place.exists() and hash_file(place) != entry.digest:
            shop.store.discard(place)
    with shop.store.locked(f"toolchain-{prefix.name}"):
        for one in found:
            (prefix / one.path).unlink(missing_ok=True)
    realize_tool(shop, name)


def remove_unused(shop: Workshop, *, dry_run: bool) -> list[Path]:
    """Remove the toolchains that the plugins here do not name and no running build uses, and what
    only they needed of uv's cache; returns their folders. Another user of the store may need one:
    it is installed again then."""
    pythons = shop.interpreters.others(shop.registry.pythons.values())
    natives = _other_natives(shop)
    with unleased(shop.store.root, [path.name for path in (*pythons, *natives)]) as names:
        pythons = [path for path in pythons if path.name in names]
        natives = {path: tree for path, tree in natives.items() if path.name in names}
        if not dry_run:
            for folder in pythons:
                shop.interpreters.remove_folder(folder)
            for folder, tree in natives.items():
                remove_files(folder, tree)
    if pythons and not dry_run:
        shop.interpreters.prune_cache()
    return [*pythons, *natives]


def _other_natives(shop: Workshop) -> dict[Path, Tree]:
    """The installed native toolchains of earlier builds, with what each consists of."""
    current = set()
    for name in shop.registry.natives:
        with suppress(PhiError):  # there is no compiler
            current.add(installed_tool(shop, name))
    folders = {
        path.name.rpartition("-")[2]: path
        for path in shop.interpreters.root.glob("*-*")
        if path.is_dir() and not path.is_symlink() and path not in current
    }
    found = {}
    for path in (shop.store.root / "results").glob("[!.]*"):
        folder = folders.get(path.name[:12])
        result = read_result(path) if folder is not None else None
        if folder is not None and result is not None:
            found[folder] = result.tree
    return found
