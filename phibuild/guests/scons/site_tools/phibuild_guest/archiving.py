"""SCons' `Zip` for artifacts: the archive holds their files, and is written again when a manifest
changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import SCons.Defaults
import SCons.Errors
import SCons.Node.FS
import SCons.Util
from SCons.Script import Action, Builder

from .states import MANIFEST


class Zip:
    """The builder of the tool "zip", which archives artifacts as well. Tools that are loaded later
    keep it, and attributes are those of the tool's own builder."""

    def __init__(self, plain: Any, find: Callable[[Any, Any], Any]) -> None:
        self._plain = plain
        self._find = find

    def __call__(self, env: Any, target: Any = None, source: Any = None, **named: Any) -> Any:
        sources = [(value, self._find(env, value)) for value in SCons.Util.flatten([source])]
        manifests = sorted({f"{path}{MANIFEST}" for _, path in sources if path})
        env.Tool("zip")
        if not manifests:
            return self._builder()(env, target, source, **named)
        if not target:
            raise SCons.Errors.StopError(
                "[PHI205] an archive of artifacts needs a name\n"
                '  hint: write env.Zip("models.zip", [...])'
            )
        nodes = [env.fs.File(f"{path}{MANIFEST}") if path else value for value, path in sources]
        return _archiver()(env, target, nodes, PHIBUILD_ARCHIVED=manifests, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder(), name)

    def _builder(self) -> Any:
        if self._plain is None:
            from SCons.Tool.zip import ZipBuilder

            self._plain = ZipBuilder
        return self._plain


def add_archiver(env: Any, find: Callable[[Any, Any], Any]) -> None:
    """Let `Zip` of this environment accept artifacts."""
    plain = env["BUILDERS"].get("Zip")
    if not isinstance(plain, Zip):
        env["BUILDERS"]["Zip"] = Zip(plain, find)


class _ArchivedPath(str):
    """A path with the method that the tool "zip" calls on a node."""

    def isdir(self) -> bool:
        return Path(self).is_dir()


def _archiver() -> Any:
    decides = ["ZIPCOMPRESSION", "ZIPROOT", "ZIP_OVERRIDE_TIMESTAMP", "PHIBUILD_ARCHIVED"]
    return Builder(
        action=Action(_archive, _describe, varlist=decides),
        suffix="$ZIPSUFFIX",
        source_factory=SCons.Node.FS.Entry,
        source_scanner=SCons.Defaults.DirScanner,
    )


def _archive(target: Any, source: Any, env: Any) -> Any:
    return Action("$ZIPCOM")(target, _contents(source, env), env, show=False)


def _describe(target: Any, source: Any, env: Any) -> str:
    return f"zip {target[0]} of {', '.join(map(str, _contents(source, env)))}"


def _contents(source: Any, env: Any) -> Any:
    """The sources, with artifacts instead of their manifests."""
    manifests = set(env["PHIBUILD_ARCHIVED"])
    return [
        _ArchivedPath(str(node)[: -len(MANIFEST)]) if node.get_abspath() in manifests else node
        for node in source
    ]
