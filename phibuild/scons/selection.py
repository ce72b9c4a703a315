"""Which targets of the project the targets typed lead to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import SCons.Node.FS
from SCons.Node import arg2nodes_lookups
from SCons.Script import BUILD_TARGETS

from phibuild.engine.declaration import Declaration
from phibuild.model.manifest import SUFFIX


class Asked(NamedTuple):
    """`names` are those of declared targets. Files of the user's own rules can include artifacts
    that SCons finds when it scans them: unless `is_certain`, there may be more."""

    names: frozenset[str]
    is_certain: bool = True


def asked_for(declarations: Mapping[Path, Declaration], fs: Any) -> Asked:
    """The targets that were typed, lie in a folder that was typed, or that an alias or a file that
    was typed is built from. All, if nothing was typed."""
    if not BUILD_TARGETS:
        return Asked(frozenset(one.name for one in declarations.values()))
    names: set[str] = set()
    is_certain = True
    typed = {_node(one, fs) for one in BUILD_TARGETS}
    waiting, seen = list(typed), set(typed)
    while waiting:
        node = waiting.pop()
        is_file = isinstance(node, SCons.Node.FS.Base)
        one = declarations.get(Path(node.get_abspath().removesuffix(SUFFIX))) if is_file else None
        if one is not None:
            names.add(one.name)
            continue
        if isinstance(node, SCons.Node.FS.Dir):
            inside = [found for name, found in node.entries.items() if name not in (".", "..")]
        else:
            # One that was typed and that nothing builds may have been typed in another folder.
            is_certain &= not (is_file and (node.has_builder() or node in typed))
            inside = [*(node.sources or ()), *(node.depends or ())]
        waiting += (found for found in inside if found not in seen)
        seen |= set(inside)
    return Asked(frozenset(names), is_certain)


def _node(typed: Any, fs: Any) -> Any:
    """The node that SCons builds for what was typed."""
    if isinstance(typed, SCons.Node.Node):
        return typed
    for lookup in arg2nodes_lookups:
        node = lookup(typed)
        if node is not None:
            return node
    return fs.Entry(typed).disambiguate()
