"""Whether what SCons records of a target's sources is what the target was built from.

SCons digests a source when it decides about a target, phibuild when it computes the target's key. A
source that is edited between the two, and edited back later, would leave a wrong artifact that
SCons calls up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import SCons.Node
import SCons.Node.Python

from phibuild.engine.declaration import Declaration
from phibuild.engine.reading.inputs import changed_while_read, read_input
from phibuild.engine.reading.sources import Sources
from phibuild.model.errors import SourceError
from phibuild.scons.models import Model
from phibuild.scons.session import Session
from phibuild.scons.translate import Source

GraphSources = tuple[Model | None, Sequence[Source]]
"""What SCons knows the sources of a target by: a signature of the model, nodes of the inputs."""

_TICK_NS = 20_000_000
"""The clock that gives files their times may be behind by this."""


def digest_sources(nodes: Iterable[SCons.Node.Node]) -> None:
    """Let SCons digest the sources, each once in a build, before phibuild does."""
    for node in nodes:
        node.get_csig()


def check_sources(current: Session, declaration: Declaration) -> None:
    """SourceError PHI106 unless the target's sources now have the digests that SCons has."""
    model, inputs = current.graph_sources[declaration.target]
    sources = current.shop.sources
    if model is not None and model.checkpoint is not None:
        now = sources.checkpoint(model.ref.folder)
        if now.slices != model.checkpoint.slices:
            raise changed_while_read(model.ref.folder, declaration.name)
    for input in inputs:
        if not _is_as_digested(sources, input, current.began):
            raise changed_while_read(input.path, declaration.name)


def _is_as_digested(sources: Sources, input: Source, began: int) -> bool:
    """`began` is when this run of SCons did, in nanoseconds: an older file did not change in it."""
    node = input.node
    try:
        if isinstance(node, SCons.Node.Python.Value):  # it stands for a folder
            return bool(node.value == str(read_input(sources, input.path).digest))
        changed = Path(node.rfile().get_abspath()).stat().st_ctime_ns
        if node.has_builder() or changed < began - _TICK_NS:
            return True
        return bool(node.get_content_hash() == node.get_csig())
    except (OSError, SourceError):
        return False
