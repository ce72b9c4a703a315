"""The user's files that an action reads: their digests, what a worker sees of them, and whether
they changed while it ran."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from phibuild.engine.reading.sources import Sources
from phibuild.model.action import FileInput, Step
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.errors import SourceError
from phibuild.model.tree import THE_FILE, Entry, Tree
from phibuild.store import Index, place_of

SKIPPED_FOLDERS = frozenset({".git", "build", "__pycache__"})
"""Folders in a user's folder that are not part of it, for digests and for workers."""


class UserInput(NamedTuple):
    """A file or folder of the user's. `signatures` are those of the tree's files from before their
    bytes were read."""

    path: Path
    tree: Tree
    signatures: tuple[str, ...]

    @property
    def name_suffix(self) -> str:
        """What a worker sees of the file's name; nothing of a folder's."""
        return self.path.suffix if self.tree.is_file else ""

    @property
    def digest(self) -> Digest:
        """The digest of all that a worker can see."""
        return digest_of_input(self.tree, name_suffix=self.name_suffix)


def digest_of_input(tree: Tree, *, name_suffix: str = "") -> Digest:
    """The digest of all that a worker can see of an input. For a file that is its bytes, whether it
    is executable, and the suffix of its name, if it has one."""
    if not tree.is_file or not (name_suffix or tree.entries[0].executable):
        return tree.digest
    return digest_of_value([str(tree.digest), name_suffix, tree.entries[0].executable])


def user_inputs(sources: Sources, step: Step) -> dict[str, UserInput]:
    """The inputs of a step that are the user's files, as they are now."""
    return {
        name: read_input(sources, Path(input.path))
        for name, input in step.inputs
        if isinstance(input, FileInput)
    }


def file_digests(sources: Sources, step: Step) -> dict[str, Digest]:
    """The digests of those inputs."""
    return {name: file.digest for name, file in user_inputs(sources, step).items()}


def read_input(sources: Sources, path: Path) -> UserInput:
    """A file or folder as it is now; the bytes of an artifact in place are not read. SourceError
    PHI101 if the path does not exist, PHI106 if it disappears while it is read."""
    manifest = sources.artifacts.manifest_in_place(path)
    try:
        if manifest is not None:
            paths = [Path(place_of(str(path), entry)) for entry in manifest.tree.entries]
            return UserInput(path, manifest.tree, tuple(map(sources.index.signature, paths)))
        if path.is_file():
            entry, signature = _read_file(sources.index, path, THE_FILE)
            return UserInput(path, Tree((entry,)), (signature,))
        if not path.is_dir():
            raise SourceError(f"{path} does not exist", hint="check the path")
        files = [_read_file(sources.index, path / name, name) for name in sorted(_names(str(path)))]
    except FileNotFoundError as error:
        raise changed_while_read(error.filename or path, "phibuild") from None
    except OSError as error:
        raise SourceError(
            f"{error.filename or path} cannot be read: {error.strerror}",
            hint="change its permissions, or take it out of the input",
        ) from None
    return UserInput(
        path,
        Tree(tuple(entry for entry, _ in files)),
        tuple(signature for _, signature in files),
    )


def visible_name(path: Path) -> list[str]:
    """What a worker sees of a file besides its bytes. A file that does not exist yet counts as not
    executable."""
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = 0
    return [path.suffix, "executable" if _is_executable(mode) else ""]


def is_unchanged(index: Index, input: UserInput) -> bool:
    """Whether the files are still those that were read. A file with other links may get a new
    ctime when somebody links or unlinks it; if nothing else changed, it is read again."""
    try:
        for entry, signature in zip(input.tree.entries, input.signatures, strict=True):
            path = Path(place_of(str(input.path), entry))
            if index.signature(path) == signature:
                continue
            status = path.stat()
            if (
                status.st_nlink == 1
                or not signature.startswith(f"{index.signature(path, 'seal')}:")
                or _is_executable(status.st_mode) != entry.executable
                or index.digest_of(path) != entry.digest
            ):
                return False
    except OSError:
        return False
    return True


def show_input(input: UserInput, path: Path) -> Path:
    """Lay out links to exactly the files that were digested; the path that stands for the input. A
    file keeps the suffix of its name."""
    if input.tree.is_file:
        shown = path.with_name(f"{path.name}{input.name_suffix}")
        shown.symlink_to(input.path.resolve())
        return shown
    path.mkdir()
    source = input.path.resolve()
    for entry in input.tree.entries:
        shown = path / entry.path
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.symlink_to(source / entry.path)
    return path


def changed_while_read(path: Path | str, reader: str) -> SourceError:
    """The error for a file that changed between two looks at it."""
    return SourceError(
        f"{path} changed while {reader} was reading it",
        hint="build again when the files are complete",
        code="PHI106",
    )


def _read_file(index: Index, path: Path, name: str) -> tuple[Entry, str]:
    signature = index.signature(path)
    status = path.stat()
    digest = index.digest_of(path)
    return Entry(name, digest, status.st_size, _is_executable(status.st_mode)), signature


def _is_executable(mode: int) -> bool:
    return stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


def _names(folder: str, prefix: str = "") -> Iterator[str]:
    """The paths of the regular files inside, in no order. Links to files count as files; links to
    folders are left out, since they may lead around in a circle."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED_FOLDERS:
                    yield from _names(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield prefix + entry.name
