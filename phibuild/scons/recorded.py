"""Whether what SCons records of a target's sources is what the target was built from.

SCons digests a source when it decides about a target, we digest it when the target's key is
computed. A source that is edited between the two, and edited back later, would leave a wrong
artifact that SCons calls up to date.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import SCons.Node
import SCons.Node.FS
import SCons.Node.Python

from phibuild.engine.inputs import changed_while_read, read_input
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import SourceError
from phibuild.scons.models import Model
from phibuild.scons.translate import Found

_TICK_NS = 20_000_000
"""The clock that files get their times from may be that much behind."""


def digest_sources(nodes: Iterable[SCons.Node.Node]) -> None:
    """Let SCons digest the sources now, before we do. It digests each once in a build."""
    for node in nodes:
        node.get_csig()


def check_sources(
    shop: Workshop, model: Model | None, sources: Iterable[Found], *, began: int, reader: str
) -> None:
    """SourceError PHI106 unless SCons has the same digests as the sources have now. `began` is the
    time at which this run of SCons did, in nanoseconds: what is older was not changed in it."""
    if model is not None and model.checkpoint is not None:
        now = shop.checkpoint(model.ref.folder)
        if now.slices != model.checkpoint.slices:
            raise changed_while_read(model.ref.folder, reader)
    for source in sources:
        if not _is_as_digested(shop, source, began):
            raise changed_while_read(source.path, reader)


def _is_as_digested(shop: Workshop, source: Found, began: int) -> bool:
    node = source.node
    try:
        if isinstance(node, SCons.Node.Python.Value):  # it stands for a folder
            return bool(node.value == str(read_input(shop, source.path).digest))
        if (
            node.has_builder()
            or Path(node.rfile().get_abspath()).stat().st_ctime_ns < began - _TICK_NS
        ):
            return True
        return bool(node.get_content_hash() == node.get_csig())
    except (OSError, SourceError):
        return False
