"""SCons' `Zip` for artifacts: the archive holds their files, and is written again when a manifest
changes."""

from __future__ import annotations

from typing import Any

import SCons.Defaults
import SCons.Node.FS
import SCons.Util
from SCons.Script import Action, Builder

from phibuild.model.errors import RecipeError
from phibuild.model.manifest import SUFFIX
from phibuild.scons.session import session
from phibuild.scons.translate import artifact_path, read_phase


class Zip:
    """The builder of the tool "zip", which archives artifacts as well. Tools that are loaded later
    keep it, and its other attributes are those of the tool's own builder."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __call__(self, env: Any, target: Any = None, source: Any = None, **named: Any) -> Any:
        """`Zip(target, sources)`."""
        sources = SCons.Util.flatten([source])
        artifacts = {path for source in sources if (path := artifact_path(env, source))}
        env.Tool("zip")
        if not artifacts:
            return self._builder()(env, target, source, **named)
        with read_phase():
            if not target:
                raise RecipeError(
                    "an archive of artifacts needs a name",
                    hint='write env.Zip("models.zip", [...])',
                    code="PHI205",
                )
        nodes = [
            env.fs.File(f"{path}{SUFFIX}") if (path := artifact_path(env, source)) else source
            for source in sources
        ]
        manifests = {f"{path}{SUFFIX}" for path in artifacts}
        return _archiver()(env, target, nodes, PHIBUILD_ARCHIVED=sorted(manifests), **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder(), name)

    def _builder(self) -> Any:
        if self._plain is None:
            from SCons.Tool.zip import ZipBuilder

            self._plain = ZipBuilder
        return self._plain


def add_archiver(env: Any) -> None:
    """Let `Zip` of this environment accept artifacts."""
    plain = env["BUILDERS"].get("Zip")
    if not isinstance(plain, Zip):
        env["BUILDERS"]["Zip"] = Zip(plain)


class _ArchivedPath(str):
    """A path with the method that the tool "zip" calls on a node."""

    __slots__ = ()

    def isdir(self) -> bool:
        return (session().folder / self).is_dir()


def _archiver() -> Any:
    decides = ["ZIPCOMPRESSION", "ZIPROOT", "ZIP_OVERRIDE_TIMESTAMP", "PHIBUILD_ARCHIVED"]
    return Builder(
        action=Action(_archive, _dry_run_text, varlist=decides),
        suffix="$ZIPSUFFIX",
        source_factory=SCons.Node.FS.Entry,
        source_scanner=SCons.Defaults.DirScanner,
    )


def _archive(target: Any, source: Any, env: Any) -> Any:
    return Action("$ZIPCOM")(target, _contents(source, env), env, show=False)


def _dry_run_text(target: Any, source: Any, env: Any) -> str:
    return f"zip {target[0]} of {', '.join(map(str, _contents(source, env)))}"


def _contents(source: Any, env: Any) -> list[Any]:
    """The sources, with artifacts in place of their manifests."""
    manifests = set(env["PHIBUILD_ARCHIVED"])
    return [
        _ArchivedPath(str(node).removesuffix(SUFFIX)) if node.get_abspath() in manifests else node
        for node in source
    ]
