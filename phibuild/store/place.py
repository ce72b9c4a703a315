"""Places an artifact: built beside the target, then exchanged with it in one step.

Phibuild's own files in the old one are removed one by one. Anything else is kept beside the target
under another name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from phibuild.model.errors import StoreError
from phibuild.model.tree import Tree
from phibuild.renaming import KEPT, exchange, rename_beside, rename_new, shortened
from phibuild.store.strangers import FILE, FOLDER, carry_over, kind_of, remove_known

_SUFFIX = ".phi-new"
_JOURNAL = "journal.json"
_NEW, _OLD = "new", "old"
_FILE, _OLD_FILE = "new-file", "old-file"


class Beside(NamedTuple):
    """A folder beside a target that holds what is about to take its place. Its journal lists the
    files that phibuild puts there or replaces, so that a later build can clear what a killed one
    left."""

    folder: Path

    @property
    def new(self) -> Path:
        """Where the new artifact is built."""
        return self.folder / _NEW

    def swap(self, target: Path) -> Path | None:
        """Put the new artifact at `target`. Returns the path of the old one; None without one.
        FileExistsError if a free path is no longer free."""
        if not os.path.lexists(target):
            rename_new(self.new, target)
            return None
        return exchange(self.new, target, aside=self.folder / _OLD)

    def write(self, path: Path, text: str, *, is_ours: Callable[[Path], bool]) -> list[Path]:
        """Write a file over one that `is_ours`. Anything else that is there at that moment is kept;
        returns its new path."""
        new = self.folder / _FILE
        new.write_text(text, "utf-8")
        if not os.path.lexists(path):
            rename_new(new, path)
            return []
        old = exchange(new, path, aside=self.folder / _OLD_FILE)
        if kind_of(str(old)) == FILE and is_ours(old):
            old.unlink()
            return []
        return [rename_beside(old, path, KEPT)]


@contextlib.contextmanager
def beside(
    target: Path, files: Collection[str], *, on_kept: Callable[[Path], None]
) -> Iterator[Beside]:
    """A folder beside the target; `files` are the paths of phibuild's files, new and old. It is
    removed afterwards; any other file in it is moved to a path that is reported."""
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(target, on_kept)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(target), suffix=_SUFFIX, dir=target.parent))
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        journal = json.dumps({"target": target.name, "files": sorted(files)})
        (folder / _JOURNAL).write_text(journal, "ascii")
        yield Beside(folder)
    finally:
        with contextlib.suppress(OSError):  # the next build tries again
            _clear(folder, target, files, on_kept)
        os.close(lock)


def replace_file(path: Path, text: str, *, is_ours: Callable[[Path], bool]) -> list[Path]:
    """The same as `Beside.write` where nothing else is replaced."""
    kept: list[Path] = []
    with beside(path, [], on_kept=kept.append) as room:
        return [*kept, *room.write(path, text, is_ours=is_ours)]


def carry_others(old: Path, target: Path, known: Tree) -> None:
    """Move the files of other rules from a replaced folder into the new one."""
    carry_over(str(old), str(target), {entry.path for entry in known.entries})


def as_place_error(error: OSError, target: Path) -> StoreError:
    """The error for a path that phibuild cannot write to."""
    hints = {
        errno.ENOTDIR: "a part of the path is a file: move it, or give the target another path",
        errno.EEXIST: "a part of the path is a file: move it, or give the target another path",
        errno.ENAMETOOLONG: "give the target a shorter name",
    }
    return StoreError(
        f"{target} cannot be written: {error.strerror or error}",
        hint=hints.get(error.errno or 0, "check the path and who may write to its folder"),
        code="PHI305",
    )


def _prefix(target: Path) -> str:
    return f".{shortened(target.name)}."


def clear_leftovers(target: Path, on_kept: Callable[[Path], None]) -> None:
    """Clear the folders that killed builds left beside the target."""
    prefix = _prefix(target)
    pattern = re.compile(re.escape(prefix) + "[a-z0-9_]{8}" + re.escape(_SUFFIX))
    names = [
        name
        for name in os.listdir(target.parent)  # noqa: PTH208 - may be many
        if name.startswith(prefix) and pattern.fullmatch(name)
    ]
    for name in names:
        folder = target.parent / name
        if kind_of(str(folder)) == FOLDER:
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _clear(folder, target, _journal(folder, target), on_kept)
            except OSError:
                pass  # another build is at work in it, or it cannot be removed
            finally:
                os.close(lock)


def _journal(folder: Path, target: Path) -> Collection[str]:
    """The files that were known; none where the journal does not say so."""
    try:
        document = json.loads((folder / _JOURNAL).read_text("ascii"))
        files = [str(path) for path in document["files"]]
        return files if document["target"] == target.name else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _clear(
    folder: Path, target: Path, files: Collection[str], on_kept: Callable[[Path], None]
) -> None:
    for name in (_NEW, _OLD):
        place = folder / name
        if not remove_known(str(place), files):
            on_kept(rename_beside(place, target, KEPT))
    for name in (_FILE, _OLD_FILE, _JOURNAL):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
    folder.rmdir()
