"""What SCons records of a target, and whether the target was built from that.

SCons digests a source when it decides about a target, phibuild when it computes the target's key. A
source that is edited between the two, and edited back later, would leave a wrong artifact that
SCons calls up to date.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import SCons.Node
import SCons.Node.FS
import SCons.Node.Python

from phibuild.engine.declaration import Declaration, Generation
from phibuild.engine.reading.inputs import changed_while_read, read_input
from phibuild.engine.signatures import signature as digest_of_plan
from phibuild.engine.workshop import Workshop
from phibuild.scons.session import Session
from phibuild.source import Checkpoint

_TICK_NS = 20_000_000
"""The clock that gives files their times may be behind by this."""


def graph_signature(shop: Workshop, declaration: Declaration, checkpoint: Checkpoint | None) -> str:
    """What SCons compares besides the target's sources."""
    plan = shop.plans.with_checkpoint(declaration, checkpoint)
    digest = digest_of_plan(shop.toolchains, plan.step, plan.checkpoint)
    # What an answer must contain decides whether the target is built, and is in no key.
    origin = declaration.origin
    return f"{digest} {origin.expect}" if isinstance(origin, Generation) else str(digest)


def digest_sources(nodes: Sequence[SCons.Node.Node]) -> None:
    """Let SCons digest the sources, each once in a build, before phibuild does."""
    for node in nodes:
        node.get_csig()


def check_sources(
    current: Session,
    declaration: Declaration,
    nodes: Sequence[SCons.Node.Node],
    *,
    signature: str,
) -> None:
    """SourceError PHI106 unless the target's sources now have the digests and the signature that
    SCons has."""
    shop, model = current.shop, declaration.model
    if model is not None and not model.is_target:
        checkpoint = shop.sources.checkpoint(model.folder)
        if graph_signature(shop, declaration, checkpoint) != signature:
            raise changed_while_read(model.folder, declaration.name)
    for node in nodes:
        if isinstance(node, SCons.Node.FS.File) and not _is_as_digested(node, current.began):
            raise changed_while_read(Path(node.get_abspath()), declaration.name)
    # A value stands for a folder; for a folder that a target makes, its manifest does.
    values = {node.value for node in nodes if isinstance(node, SCons.Node.Python.Value)}
    for path in declaration.inputs:
        is_value = path.is_dir() and path not in current.declarations
        if is_value and str(read_input(shop.sources, path).digest) not in values:
            raise changed_while_read(path, declaration.name)


def _is_as_digested(node: SCons.Node.FS.File, began: int) -> bool:
    """`began` is when this run of SCons did, in nanoseconds: an older file did not change in it."""
    try:
        changed = Path(node.rfile().get_abspath()).stat().st_ctime_ns
    except OSError:
        return False
    is_old = node.has_builder() or changed < began - _TICK_NS
    return is_old or bool(node.get_content_hash() == node.get_csig())
