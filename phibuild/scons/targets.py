"""From a declaration to the nodes of a target.

SCons sees one small file for each artifact, its manifest, and an alias that has the artifact's path
for a name: sources of the user's own rules get that path and rerun when the manifest changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import SCons.Node.FS
from SCons.Script import BUILD_TARGETS

from phibuild.engine.declaration import (
    NO_MODEL,
    Conversion,
    Declaration,
    Origin,
    Packaging,
)
from phibuild.model.manifest import SUFFIX
from phibuild.scons.actions import target_action
from phibuild.scons.claims import TargetClaim, Use
from phibuild.scons.models import Model
from phibuild.scons.recorded import graph_signature
from phibuild.scons.session import Session, session
from phibuild.scons.translate import Source, file_node, target_node


def declare_target(
    env: Any,
    target: Any,
    origin: Origin,
    *,
    model: Model | None = None,
    sources: Sequence[Source] = (),
    nodes: Sequence[str] = (),
    current_interpreter: bool = False,
) -> Any:
    """Declare an artifact, and return its alias. `nodes` are the files in it that other rules may
    name."""
    current = session()
    manifest = target_node(env, target)
    path = Path(manifest.get_abspath().removesuffix(SUFFIX))
    is_inside = path.is_relative_to(current.folder)
    declaration = Declaration(
        name=str(path.relative_to(current.folder) if is_inside else path),
        target=path,
        origin=origin,
        model=model.ref if model else None,
        inputs=tuple(source.path for source in sources),
        current_interpreter=current_interpreter,
    )
    if current.only_cleans and isinstance(origin, Conversion | Packaging):
        origin.check(NO_MODEL)
    checkpoint = model.checkpoint if model else None
    signature = (
        "" if current.only_cleans else graph_signature(current.shop, declaration, checkpoint)
    )
    claim_sources(sources, "the input")
    files = (manifest, *(file_node(env, f"{path}/{name}") for name in nodes))
    current.declare(declaration, TargetClaim(path, declaration.name, tuple(nodes), files))
    own = current.environment
    own.Command(
        list(files),
        [*(model.nodes if model else ()), *(source.node for source in sources)],
        target_action(),
        PHIBUILD_TARGET=path,
        PHIBUILD_SIGNATURE=signature,
    )
    own.Precious(files)  # SCons would delete the old manifest before the new artifact is made
    own.NoCache(files)
    own.NoClean(files)  # `Clean` removes them if phibuild built them
    if current.only_cleans:
        own.Clean(manifest, current.cleaning.expect(current.shop.artifacts, declaration))
    elif _is_damaged(current, declaration):
        own.AlwaysBuild(manifest)
    for position, typed in enumerate(BUILD_TARGETS):
        if current.folder / str(typed) == path:
            BUILD_TARGETS[position] = declaration.name
    return own.Alias(declaration.name, manifest)


def claim_sources(sources: Sequence[Source], role: str) -> None:
    """Claim files and folders that the build reads, except its own targets."""
    current = session()
    for source in sources:
        if source.path not in current.declarations:
            is_file = isinstance(source.node, SCons.Node.FS.Base)
            built = is_file and source.node.has_builder()
            current.claims.use(Use(source.path, role, built=built))


def _is_damaged(current: Session, declaration: Declaration) -> bool:
    """Whether a manifest stands for files that were deleted or changed: SCons cannot see them."""
    artifacts = current.shop.artifacts
    manifest = artifacts.manifest_of(declaration.target)
    if manifest is None:  # it does not exist, or cannot be read
        return Path(f"{declaration.target}{SUFFIX}").exists()
    return not artifacts.is_placed(declaration, manifest.tree)
