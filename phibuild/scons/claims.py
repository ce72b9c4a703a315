"""What the declarations of an SConstruct claim of the disk: see phibuild.engine.territory."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

import SCons.Node
import SCons.Node.FS

import phibuild
from phibuild.engine.territory.territory import HINT, Territory
from phibuild.model.errors import RecipeError


class Use(NamedTuple):
    """A file or folder that the build reads, its role for the user ("the input"), and whether a
    rule of the same build writes it."""

    path: Path
    role: str
    built: bool = False


class TargetClaim(NamedTuple):
    """The path of an artifact, its name, the files in it that other rules may name, and the nodes
    that SCons knows it by."""

    path: Path
    name: str
    parts: tuple[str, ...]
    nodes: tuple[SCons.Node.FS.File, ...]


class Claims:
    """All claims of this process. They are compared when they are declared, and again before the
    first target is built: the rest of the SConstruct may have made folders and read scripts."""

    def __init__(self, folder: Path, store: Path) -> None:
        self._folder = folder
        self._store = store
        self._uses: list[Use] = []
        self._targets: list[TargetClaim] = []
        self._scripts: set[str] = set()
        self._territory = self._at_start()

    def use(self, use: Use) -> None:
        """The build reads a file or folder; RecipeError PHI205 if a target would destroy it."""
        self._uses.append(use)
        self._use(use)

    def claim(self, target: TargetClaim) -> None:
        """A target writes an artifact; RecipeError PHI205 if it would destroy something."""
        self._keep_scripts()
        self._claim(target)
        self._targets.append(target)

    def check_again(self) -> None:
        """Compare all claims for the disk as it is now; RecipeError PHI205."""
        self._territory = self._at_start()
        self._scripts = set()
        for use in self._uses:
            self._use(use)
        for target in self._targets:
            self._claim(target)
        self._keep_scripts()

    def _at_start(self) -> Territory:
        territory = Territory()
        package = Path(phibuild.__file__).parent
        territory.keep(str(self._folder), f"the project's folder {self._folder}")
        with contextlib.suppress(RuntimeError):  # a user without a home
            territory.keep(str(Path("~").expanduser()), "the home folder")
        for prefix in (sys.prefix, sys.base_prefix):
            territory.keep(prefix, f"the Python environment {prefix}")
        territory.keep(str(package), f"phibuild itself, {package}")
        territory.use(str(self._store), f"phibuild's store {self._store}")
        return territory

    def _keep_scripts(self) -> None:
        """The SConstruct, and every SConscript that was read so far."""
        if len(self._scripts) == len(SCons.Node.SConscriptNodes):
            return
        for node in SCons.Node.SConscriptNodes:
            path = node.rfile().get_abspath()
            if path not in self._scripts:
                self._scripts.add(path)
                self._territory.keep(path, f"the script {self._shown(path)}")

    def _use(self, use: Use) -> None:
        path = str(use.path)
        self._territory.use(path, f"{use.role} {self._shown(path)}", built=use.built)

    def _claim(self, target: TargetClaim) -> None:
        self._territory.claim(str(target.path), target.name, target.parts)
        rule = _rule_in(target)
        if rule is not None:
            raise RecipeError(
                f"the target {target.name} is or contains {rule}, which another rule builds",
                hint=HINT,
                code="PHI205",
            )

    def _shown(self, path: str) -> str:
        inside = Path(path).is_relative_to(self._folder) and path != str(self._folder)
        return os.path.relpath(path, self._folder) if inside else path


def _rule_in(target: TargetClaim) -> SCons.Node.FS.Base | None:
    """What another rule of SCons builds at the path of an artifact. Rules may compile the parts of
    an artifact in place."""
    folder = target.nodes[0].dir
    entry = folder.entries.get(target.path.name)
    waiting: list[SCons.Node.FS.Base] = [entry] if entry is not None else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, SCons.Node.FS.Dir):
            if not target.parts:
                waiting += [
                    inner for name, inner in node.entries.items() if name not in (".", "..")
                ]
        elif node.has_builder() and node not in target.nodes:
            return node
    return None
