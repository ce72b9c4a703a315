"""The targets of the project that the targets typed lead to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import SCons.Node.FS
from SCons.Node import arg2nodes_lookups
from SCons.Script import BUILD_TARGETS

from phibuild.engine.declaration import Declaration
from phibuild.model.manifest import SUFFIX


class Selection(NamedTuple):
    """The names of declared targets. Files of the user's own rules can include artifacts that SCons
    finds when it scans them: unless `is_certain`, there may be more."""

    names: frozenset[str]
    is_certain: bool = True


def select(declarations: Mapping[Path, Declaration], fs: Any) -> Selection:
    """The targets that were typed, lie in a folder that was typed, or that an alias or a file that
    was typed is built from. All, if nothing was typed."""
    if not BUILD_TARGETS:
        return Selection(frozenset(target.name for target in declarations.values()))
    names: set[str] = set()
    is_certain = True
    typed = {_node(target, fs) for target in BUILD_TARGETS}
    waiting, seen = list(typed), set(typed)
    while waiting:
        node = waiting.pop()
        is_file = isinstance(node, SCons.Node.FS.Base)
        path = node.get_abspath().removesuffix(SUFFIX) if is_file else ""
        target = declarations.get(Path(path)) if is_file else None
        if target is not None:
            names.add(target.name)
            continue
        if isinstance(node, SCons.Node.FS.Dir):
            inside = [entry for name, entry in node.entries.items() if name not in (".", "..")]
        else:
            # A file that was typed and that nothing builds may be relative to another folder.
            is_certain &= not (is_file and (node.has_builder() or node in typed))
            inside = [*(node.sources or ()), *(node.depends or ())]
        waiting += (node for node in inside if node not in seen)
        seen |= set(inside)
    return Selection(frozenset(names), is_certain)


def _node(typed: Any, fs: Any) -> Any:
    """The node that SCons builds for what was typed."""
    if isinstance(typed, SCons.Node.Node):
        return typed
    for lookup in arg2nodes_lookups:
        node = lookup(typed)
        if node is not None:
            return node
    return fs.Entry(typed).disambiguate()
