"""What the file system refuses, as errors that say where and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from phibuild.executors.local import disk_full
from phibuild.model.errors import PhiError, SourceError, StoreError
from phibuild.store import store_root


def as_phi_error(error: OSError) -> PhiError:
    """The error for what was refused; raises it as it is if it names no file."""
    root = store_root()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(Path(os.fsdecode(error.filename)) if error.filename else root)
    if not isinstance(error.filename, str | bytes):
        raise error
    path = Path(os.fsdecode(error.filename))
    why = error.strerror or str(error)
    if path.is_relative_to(root):
        return StoreError(
            f"the store {root} cannot be used: {path.relative_to(root)}: {why}",
            hint="what is known already is recalled without writing to it; to build more, make it"
            " writable or set PHIBUILD_STORE to another folder",
        )
    return SourceError(f"{path} cannot be used: {why}", hint="check who may read and write it")
