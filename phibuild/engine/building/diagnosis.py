"""Why a worker failed, where the fault is in the store rather than in the worker's inputs."""

from __future__ import annotations

import shutil
from pathlib import Path

from phibuild.engine.building.tools import differences
from phibuild.engine.workshop import Workshop
from phibuild.executors.local import last_lines
from phibuild.model.action import Action
from phibuild.model.errors import ActionError, PhiError, ToolchainError

_DAMAGED_BYTECODE = (
    "EOFError: marshal data too short",
    "ValueError: bad marshal data",
    "ImportError: bad magic number in",
    "init_fs_encoding",
)
"""What Python prints when it cannot read its bytecode."""


class BytecodeDamaged(ActionError):
    """A worker failed because the bytecode that Python had written was damaged, as after a full
    disk. The bytecode is removed, so that the worker can run again."""


def diagnosed(shop: Workshop, action: Action, error: PhiError, log: Path) -> PhiError:
    """The error of a worker, or one that names what is damaged. Damaged bytecode is removed, since
    Python compiles it again."""
    if error.code not in ("PHI401", "PHI402", "PHI403", "PHI408"):
        return error
    text = last_lines(log) if log.is_file() else ""
    if any(sign in text for sign in _DAMAGED_BYTECODE):
        shutil.rmtree(shop.toolchains.interpreters.bytecode, ignore_errors=True)
        hint = "Python's bytecode was damaged and is removed: build again"
        return BytecodeDamaged(error.message, hint=hint, code=error.code)
    for name in (action.toolchain, *action.tools):
        if name in shop.registry.pythons or name in shop.registry.natives:
            damage = differences(shop, name, reads=False)
            if damage:
                return ToolchainError(
                    f"the toolchain {name} is damaged: {damage[0]}\n{error.message}",
                    hint=f"phibuild toolchain verify --repair {name}, then build again",
                    code="PHI607",
                )
    return error
