"""What the file system refuses, as errors that say where and what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from phibuild.executors.local import disk_full
from phibuild.model.errors import PhiError, SourceError, StoreError
from phibuild.store import store_root


def as_phi_error(error: OSError) -> PhiError:
    """The error for what the file system refused; raises an error that names no file again."""
    root = store_root()
    if _is_full(error):
        return disk_full(Path(os.fsdecode(error.filename)) if error.filename else root)
    if not isinstance(error.filename, str | bytes):
        raise error
    path = Path(os.fsdecode(error.filename))
    why = error.strerror or str(error)
    if path.is_relative_to(root):
        return StoreError(
            f"the store {root} cannot be used: {path.relative_to(root)}: {why}",
            hint="known results are recalled without writing to the store; to build more, make it"
            " writable or set PHIBUILD_STORE to another folder",
        )
    return SourceError(f"{path} cannot be used: {why}", hint="check who may read and write it")


@contextlib.contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """Turn a full disk into the error that says so."""
    try:
        yield
    except OSError as error:
        if _is_full(error):
            raise disk_full(folder) from error
        raise


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
