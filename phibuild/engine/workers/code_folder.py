"""The folder of the store that a worker runs from: its code, and nothing else.

`code/<hex>` holds the files of one digest. It is written beside and renamed, compared with its
digests before each use, and replaced if it is damaged; so it may be deleted whenever no worker runs
from it. Its own time is that of its last use.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from phibuild.engine.reading.inputs import changed_while_read
from phibuild.engine.workers.code import Code
from phibuild.model.digest import Digest
from phibuild.store import Store


def code_folder(store: Store, code: Code) -> Path:
    """The folder that holds exactly this code. SourceError PHI106 if the folder does not exist yet
    and a file has changed."""
    folder = store.root / "code" / code.digest.hex
    if not _is_intact(folder, code):
        with store.locked(f"code-{code.digest.hex[:16]}"):
            if not _is_intact(folder, code):  # another build may have written it
                _write(folder, code)
    with contextlib.suppress(PermissionError):  # another user's, in a store that is shared
        os.utime(folder)
    return folder


def _is_intact(folder: Path, code: Code) -> bool:
    paths = {
        os.path.relpath(Path(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
    }
    try:
        return paths == {file.path for file in code.files} and all(
            Digest.of((folder / file.path).read_bytes()) == file.digest for file in code.files
        )
    except OSError:
        return False


def _write(folder: Path, code: Code) -> None:
    mark = os.urandom(8).hex()
    new, old = (
        folder.with_name(f".{folder.name}.{mark}.{kind}") for kind in ("phi-new", "phi-old")
    )
    try:
        for file in code.files:
            content = file.read()
            if Digest.of(content) != file.digest:
                raise changed_while_read(file.source or file.path, "phibuild")
            place = new / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
            place.chmod(0o444)
        if os.path.lexists(folder):
            folder.rename(old)
        new.rename(folder)
    finally:
        for path in (new, old):
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):  # a file was in the folder's place
                path.unlink()
