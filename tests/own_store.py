"""The store of the tests, beside the developer's: only toolchains are shared."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from phibuild.store import Store, store_root
from phibuild.store.store import object_name
from phibuild.store.survey import installed_keys, read_result

_SHARED = ("toolchains", "uv", "bytecode")
_SUFFIX = "-tests"


def store_of_tests() -> Path:
    """The folder, which later runs use again. The toolchains of the developer's store are links,
    and the results of those that were compiled are known in both: to build them takes minutes."""
    shared = store_root()
    if shared.name.endswith(_SUFFIX):  # a test that runs pytest
        return shared
    root = shared.with_name(shared.name + _SUFFIX)
    root.mkdir(parents=True, exist_ok=True)
    for name in _SHARED:
        (shared / name).mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (root / name).symlink_to(shared / name)
    own = Store(root)
    if (shared / "results").is_dir():
        results = {path.name: path for path in (shared / "results").iterdir()}
        for key in installed_keys(shared, results):
            with suppress(OSError):  # a collection may have removed it
                _copy_result(Store(shared), results[key], own)
    own.close()
    return root


def _copy_result(shared: Store, path: Path, own: Store) -> None:
    result = read_result(path)
    if result is None or own.recall(result.key) is not None:
        return
    for entry in result.tree.entries:
        place = own.object_named(object_name(entry))
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.link(shared.object_path(entry), place)
    own.record(result)
