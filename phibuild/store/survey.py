"""Lists what a store holds: its results and objects, anything else, and what refers to them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from phibuild.model.errors import StoreError
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.store.results import ActionResult
from phibuild.store.retention import ResultUse
from phibuild.store.store import Store, object_name
from phibuild.store.usage import blocks

_OBJECT = re.compile(r"[0-9a-f]{64}(\.x)?")


class Survey(NamedTuple):
    """`results` by key and `objects` by name with their bytes on the disk; `damage` is whatever
    else lies in their folders; `slices` are the digests of slices by the key of a result."""

    results: dict[str, ResultUse]
    objects: dict[str, int]
    damage: tuple[Path, ...]
    slices: dict[str, frozenset[str]]


def survey(store: Store) -> Survey:
    """Read all results and list all objects."""
    content = Survey({}, {}, (), {})
    damage = []
    for path in _entries(store.root / "results"):
        if path.name.startswith("."):
            continue  # another process is writing it
        with suppress(FileNotFoundError):
            result = read_result(path)
            if result is None:
                damage.append(path)
                continue
            stat = path.stat()
            objects = tuple(object_name(entry) for entry in result.tree.entries)
            inputs = tuple(key.hex for _, key in result.inputs)
            content.results[path.name] = ResultUse(inputs, objects, stat.st_mtime, blocks(stat))
            content.slices[path.name] = frozenset(fact.value for fact in result.facts)
    for path in object_files(store.root):
        with suppress(FileNotFoundError):
            stat = path.lstat()
            if is_object(path):
                content.objects[path.name] = blocks(stat)
            else:
                damage.append(path)
    return content._replace(damage=tuple(damage))


def read_result(path: Path) -> ActionResult | None:
    """A result; None if it is damaged or has another's key."""
    try:
        result = ActionResult.from_text(path.read_text("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        return None
    return result if result.key.hex == path.name else None


def object_files(root: Path) -> Iterator[Path]:
    """Everything in the folders of objects."""
    for folder in _entries(root / "objects"):
        if folder.is_dir() and not folder.is_symlink():
            yield from _entries(folder)
        else:
            yield folder


def is_object(path: Path) -> bool:
    """Whether this has the name and kind of an object, without reading it."""
    is_named = _OBJECT.fullmatch(path.name) and path.parent.name == path.name[:2]
    return bool(is_named) and path.is_file() and not path.is_symlink()


def targets_in_place(store: Store) -> dict[str, str]:
    """The action keys of artifacts that lie where this store's builds put them, by path."""
    keys = {}
    for target in store.index.placed_targets():
        with suppress(OSError, UnicodeDecodeError, StoreError):
            path = Path(f"{target}{SUFFIX}")
            keys[target] = Manifest.from_text(path.read_text("utf-8"), where="").key.hex
    return keys


def installed_keys(root: Path, keys: Iterable[str]) -> set[str]:
    """The results of installed toolchains, whose folders' names end in a part of the key."""
    ends = {path.name.rpartition("-")[2] for path in _entries(root / "toolchains")}
    return {key for key in keys if key[:12] in ends}


def _entries(folder: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            yield Path(entry.path)
