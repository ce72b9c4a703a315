"""Why a worker failed, where the fault is in the store rather than in what it was given."""

from __future__ import annotations

import shutil
from pathlib import Path

from phibuild.engine.building.run import BytecodeDamaged
from phibuild.engine.upkeep.toolchains import differences
from phibuild.engine.workshop import Workshop
from phibuild.executors.local import last_words
from phibuild.model.action import Action
from phibuild.model.errors import PhiError, ToolchainError

_COMPILED = (
    "EOFError: marshal data too short",
    "ValueError: bad marshal data",
    "ImportError: bad magic number in",
    "init_fs_encoding",
)
"""What Python prints when it cannot read what it compiled earlier."""


def diagnosed(shop: Workshop, action: Action, error: PhiError, log: Path) -> PhiError:
    """The error of a worker, or the one that names what is damaged. What Python compiled is
    removed, as it is compiled anew."""
    if error.code not in ("PHI401", "PHI402", "PHI403", "PHI408"):
        return error
    text = last_words(log) if log.is_file() else ""
    if any(sign in text for sign in _COMPILED):
        shutil.rmtree(shop.interpreters.bytecode, ignore_errors=True)
        hint = "what Python had compiled was damaged and is removed: build again"
        return BytecodeDamaged(error.message, hint=hint, code=error.code)
    for name in (action.toolchain, *action.tools):
        if name in shop.registry.pythons or name in shop.registry.natives:
            found = differences(shop, name, reads=False)
            if found:
                return ToolchainError(
                    f"the toolchain {name} is damaged: {found[0]}\n{error.message}",
                    hint=f"phibuild toolchain verify --repair {name}, then build again",
                    code="PHI607",
                )
    return error
