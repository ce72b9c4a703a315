"""The error for a worker that imports what it is not shown."""

from __future__ import annotations

import re

from phibuild.model.action import HOST, Action
from phibuild.model.errors import ActionError

_MODULE = re.compile(r"ModuleNotFoundError: No module named '([^']+)'")
_NAME = re.compile(
    r"ImportError: cannot import name '([^']+)' from '([^']+)'"
    r" \((?:unknown location|.*/code/[0-9a-f]{64}/.*__init__\.py)\)"
)


def missing_module(action: Action, log: str) -> ActionError | None:
    """ActionError PHI408 if a failed worker's log ends with such an import."""
    last = log.strip().rpartition("\n")[2]
    if match := _MODULE.match(last):
        module = match[1]
    elif match := _NAME.match(last):
        module = f"{match[2]}.{match[1]}"
    else:
        return None
    packages = (
        'a package needs a toolchain: "host" has none'
        if action.toolchain == HOST
        else f"a package has to be in its toolchain {action.toolchain!r}"
    )
    declared = (
        "modules=[...] of env.Artifact"
        if action.code_root is not None
        else "worker_files of the plugin's action"
    )
    return ActionError(
        f"{action.name} imports {module}, which its worker {action.worker.name} is not shown",
        hint=f"declare a module of your own in {declared}; {packages}",
        code="PHI408",
    )
