"""`scons -c`: SCons removes what manifests name; folders that became empty follow at the end, and
what stays is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from SCons.Node.FS import get_default_fs

from phibuild.engine.declaration import Declaration
from phibuild.engine.placing.artifacts import Artifacts
from phibuild.engine.placing.cleaning import built_files, remove_empty_folders
from phibuild.model.manifest import SUFFIX, Manifest

_MOST_LINES = 20


@dataclass
class Cleaning:
    """The artifacts that this run may clean, with their manifests."""

    _known: list[tuple[Declaration, Manifest]] = field(default_factory=list)

    def expect(self, artifacts: Artifacts, declaration: Declaration) -> list[Any]:
        """The nodes to clean with an artifact: none without a manifest, which says that
        phibuild built it."""
        manifest = artifacts.manifest_of(declaration.target)
        paths = built_files(declaration.target, manifest)
        if manifest is not None and paths:
            self._known.append((declaration, manifest))
        fs = get_default_fs()
        return [fs.Entry(str(path)) for path in paths]

    def finish(self, say: Callable[[str], None]) -> None:
        """Remove the folders that SCons emptied, and name what stays."""
        for declaration, manifest in self._known:
            if os.path.lexists(f"{declaration.target}{SUFFIX}"):
                continue  # it was not cleaned
            left = remove_empty_folders(declaration.target, manifest.tree)
            for path in left[:_MOST_LINES]:
                say(f"Kept {path}: phibuild did not build it")
            if len(left) > _MOST_LINES:
                say(f"Kept {len(left) - _MOST_LINES} other files in {declaration.name}")
