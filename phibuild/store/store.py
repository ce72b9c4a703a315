"""The store: files by digest and action results by key, written beside and renamed, never modified.

format            the version of this layout
objects/ab/<hex>  read-only files; `<hex>.x` where the file is executable
results/<hex>     action results by action key; the time of one is that of its last use
code/<hex>        what workers run from (see engine/code_folder.py); may be deleted at any time
index.sqlite      facts about files (see index.py); may be deleted at any time
locks/ work/      one build at a time for each action; workspaces
leases/           the objects that each running process uses (see leases.py)
pins/ limit       results that collection keeps, and the store's size limit
toolchains/ uv/   Python toolchains and the cache that they are linked from
bytecode/ logs/   modules that Python compiled; the logs of failed actions
plugins/          what plugins offer (see registry.py)

Damage is never an error: what cannot be read is a miss, and anything in the place of a part of the
store is moved aside.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from phibuild.model.digest import Digest
from phibuild.model.errors import StoreError
from phibuild.model.tree import THE_FILE, Entry, Tree
from phibuild.store.aside import make_folder, move_aside
from phibuild.store.copying import SMALL, are_hard_links_requested, copy_file, may_be_links
from phibuild.store.files import new_name, write_text
from phibuild.store.index import Index, ObjectRange, hash_file
from phibuild.store.leases import Lease
from phibuild.store.locks import locked
from phibuild.store.placements import place_of
from phibuild.store.results import ActionResult
from phibuild.threads import in_threads

FORMAT = "phibuild-store/1\n"
_DAY = 86400.0
"""Seconds between two updates of the time of a result that is used often."""
_WORTH_THREADS = 64 << 20
"""Bytes of a tree above which its files are copied at the same time."""
_THREADS = 4


def store_root() -> Path:
    """PHIBUILD_STORE, else `phibuild` in the user's cache folder."""
    explicit = os.environ.get("PHIBUILD_STORE")
    if explicit:
        return Path(explicit).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "phibuild"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phibuild"


def object_name(entry: Entry) -> str:
    """The name of the object that holds the bytes of an entry."""
    return entry.digest.hex + (".x" if entry.executable else "")


class KnownDigest(NamedTuple):
    """The digest of a file as its writer reports it, and the file's stat signature then."""

    digest: Digest
    signature: str


@dataclass(frozen=True)
class Store:
    """A store in a folder, created on first use."""

    root: Path

    def __post_init__(self) -> None:
        try:
            is_sound = self.marker.read_bytes() == FORMAT.encode()
        except OSError:
            is_sound = False
        if not is_sound:
            from phibuild.store.opening import open_damaged  # new or damaged, both rare

            open_damaged(self.root, self.marker, FORMAT)

    @property
    def marker(self) -> Path:
        """A small file that every store has."""
        return self.root / "format"

    @cached_property
    def index(self) -> Index:
        """The index of files seen."""
        return Index(self.root / "index.sqlite")

    def close(self) -> None:
        """Release all that this process holds of the store, which is not used afterwards."""
        self.index.close()
        self.lease.release()

    def locked(self, name: str) -> AbstractContextManager[None]:
        """A context in which no other process has the lock of this name."""
        return locked(self.root / "locks" / name)

    @cached_property
    def lease(self) -> Lease:
        """What this process uses, which a collection leaves."""
        return Lease(self.root)

    def workspace(self) -> AbstractContextManager[Path]:
        """A fresh folder on the store's file system, gone afterwards."""
        from phibuild.store.workspaces import workspace

        return workspace(self.root / "work")

    def sweep(self) -> None:
        """Remove the workspaces of killed builds, and create the folder for compiled modules:
        Python would not."""
        from phibuild.store.workspaces import sweep

        sweep(self.root / "work")
        with suppress(OSError):
            make_folder(self.root / "bytecode")

    # Results

    def recall(self, key: Digest) -> ActionResult | None:
        """The action result recorded under this key. Its files may be gone: see `has`. One that
        cannot be read, or has another key, is a miss; the next one replaces it."""
        path = self.result_path(key)
        try:
            result = ActionResult.from_text(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if result.key != key:
            return None
        with suppress(OSError):  # another user's may be in use, too
            if path.stat().st_mtime < time.time() - _DAY:
                os.utime(path)
        return result

    def record(self, result: ActionResult) -> None:
        """Remember a result whose files are in the store."""
        write_text(self.result_path(result.key), result.to_text())

    # Pieces

    def recall_piece(self, key: str) -> tuple[Path, ObjectRange] | None:
        """The object and the range that this key names. None if it is not known, or its object is
        gone or was changed. The reader compares the sha256."""
        known = self.index.piece(key)
        if known is None:
            return None
        self.lease.hold(known[:1])
        place = self.object_named(known[0])
        sealed = self.index.recall(place, "seal") is not None
        return (place, known[1]) if sealed else None

    def record_pieces(self, entry: Entry, pieces: Mapping[str, ObjectRange]) -> None:
        """Remember ranges of an object by their keys. It costs no disk."""
        self.index.record_pieces(self.object_path(entry).name, pieces)

    # Objects

    def put(self, path: Path, known: Mapping[str, KnownDigest] = MappingProxyType({})) -> Tree:
        """Move a file or folder that an action built into the store. A file whose digest is
        `known`, by its name in the tree, is read only if it has changed since."""
        if path.is_file() and not path.is_symlink():
            return Tree((self._put_file(path, THE_FILE, known.get(THE_FILE)),))
        files = sorted(
            (child.relative_to(path).as_posix(), child)
            for child in path.rglob("*")
            if child.is_symlink() or not child.is_dir()
        )
        for name, child in files:
            if child.is_symlink() or not child.is_file():
                raise StoreError(f"{name} in the output is not a regular file", code="PHI403")
        return Tree(tuple(self._put_file(child, name, known.get(name)) for name, child in files))

    def known_digest(self, path: Path, digest: Digest) -> KnownDigest:
        """A digest for `put`, of a file in its present state."""
        return KnownDigest(digest, self.index.signature(path))

    def has(self, tree: Tree) -> bool:
        """Whether every file of the tree is here and undamaged. They stay then while this process
        lives."""
        self.lease.hold(object_name(entry) for entry in tree.entries)
        return all(self._is_sound(entry) for entry in tree.entries)

    def object_path(self, entry: Entry) -> Path:
        """The path of the bytes of this entry."""
        return Path(self._object_path(entry))

    def object_named(self, name: str) -> Path:
        """The path of the object with this name."""
        return Path(self._object_named(name))

    def is_object_at(self, entry: Entry, place: str) -> bool:
        """Whether a path is a hard link to the object of this entry, unchanged."""
        return self.index.is_sealed(self._object_path(entry), str(entry.digest), found_at=place)

    # Copies and views of trees

    def copy_tree(
        self, tree: Tree, new: Path, *, reuse: Callable[[Entry, Path], bool] | None = None
    ) -> None:
        """Create a user's artifact at `new`, in files of its own: editing one changes no object.
        `reuse` may create a file from one that the user has already.
        StoreError PHI302 if an object is gone or damaged."""

        def create(tree: Tree, entry: Entry, path: Path) -> None:
            if reuse is None or not reuse(entry, path):
                self._copy(tree, entry, path)

        self._fill(tree, new, create)

    def show(self, tree: Tree, path: Path) -> None:
        """Lay a tree out inside the store to be read, in a workspace or for a toolchain. `path` is
        free. Large files may be links to objects, and must not be written to."""
        self._fill(tree, path, self._link)

    def install(self, tree: Tree, path: Path) -> None:
        """Show a tree at a path inside the store, over what is there."""
        from phibuild.store.workspaces import INSTALLING, workspace

        with workspace(path.parent, prefix=INSTALLING) as folder:
            self.show(tree, folder / "new")
            if os.path.lexists(path):
                from phibuild.renaming import exchange

                exchange(folder / "new", path, aside=folder / "old")
            else:
                (folder / "new").rename(path)

    def _fill(self, tree: Tree, new: Path, create: Callable[[Tree, Entry, Path], None]) -> None:
        """Create the files of a tree at `new`; large ones at the same time."""
        places = []
        for entry in tree.entries:
            place = Path(place_of(str(new), entry))
            place.parent.mkdir(parents=True, exist_ok=True)
            places.append(place)
        if len(places) == 1 or tree.size < _WORTH_THREADS:
            for entry, place in zip(tree.entries, places, strict=True):
                create(tree, entry, place)
            return
        pairs = zip(tree.entries, places, strict=True)
        for _ in in_threads(lambda pair: create(tree, *pair), pairs, most=_THREADS):
            pass

    def _copy(self, tree: Tree, entry: Entry, path: Path) -> None:
        """Create a file of the user's; a hard link if requested and allowed, and only the first
        one: the time of another project's file would change with it."""
        source = self._sound_object(entry)
        may_be_link = entry.size >= SMALL and are_hard_links_requested() and may_be_links(tree)
        if not may_be_link or source.stat().st_nlink > 1:
            copy_file(source, path, executable=entry.executable)
            return
        try:
            path.hardlink_to(source)
        except OSError:
            copy_file(source, path, executable=entry.executable)
            return
        # Other build tools compare times: what is placed now is newer than its inputs.
        with self.locked(f"seal-{entry.digest.hex[:16]}"):
            os.utime(path)
            self._seal(entry)

    def _link(self, tree: Tree, entry: Entry, path: Path) -> None:
        """Create a file that is only read. Small ones are copies, so that a worker that writes to
        its input damages nothing; large ones are checked."""
        source = self._sound_object(entry)
        if entry.size >= SMALL and may_be_links(tree):
            with suppress(OSError):
                path.hardlink_to(source)
                return
        copy_file(source, path, executable=entry.executable)

    def _sound_object(self, entry: Entry) -> Path:
        if not self._is_sound(entry):
            raise StoreError(
                f"the object {entry.digest} is gone or damaged",
                hint="build again; it is built again",
            )
        return self.object_path(entry)

    def _object_path(self, entry: Entry) -> str:
        return self._object_named(object_name(entry))

    def _object_named(self, name: str) -> str:
        return f"{self.root}/objects/{name[:2]}/{name}"

    def _put_file(self, path: Path, name: str, known: KnownDigest | None) -> Entry:
        stat = path.stat()
        executable = bool(stat.st_mode & 0o100)
        is_known = (
            known is not None
            and stat.st_size >= SMALL  # it costs nothing to read less
            and known.signature == self.index.signature(path)
        )
        digest = known.digest if known is not None and is_known else hash_file(path)
        entry = Entry(name, digest, stat.st_size, executable)
        place = self.object_path(entry)
        self.lease.hold([place.name])
        if self._is_sound(entry):
            path.unlink()
        else:
            make_folder(place.parent)
            if stat.st_nlink > 1:  # the file has other links
                path = _own_copy(path, executable=executable)
            path.chmod(0o555 if executable else 0o444)
            path.replace(place)
            self._seal(entry)
        return entry

    def _is_sound(self, entry: Entry) -> bool:
        """Check an object by its seal, else by its bytes; a damaged one is removed."""
        place = self.object_path(entry)
        if self.index.recall(place, "seal") == str(entry.digest) and os.access(place, os.R_OK):
            return True
        try:
            if hash_file(place) == entry.digest:
                self._seal(entry)
                return True
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            pass  # a folder, or a file that cannot be read
        with suppress(OSError):  # else `put` fails later, with an error
            self.discard(place)
        return False

    def discard(self, place: Path) -> None:
        """Remove what lies in the place of an object or a result."""
        if place.is_dir() and not place.is_symlink():
            move_aside(place)
        else:
            place.unlink(missing_ok=True)

    def _seal(self, entry: Entry) -> None:
        place = self.object_path(entry)
        self.index.record(
            place, "seal", str(entry.digest), seen=self.index.signature(place, "seal")
        )

    def result_path(self, key: Digest) -> Path:
        """The path of the result with this key."""
        return self.root / "results" / key.hex


def _own_copy(path: Path, *, executable: bool) -> Path:
    """Replace a file by a copy of it."""
    copy = new_name(path)
    copy_file(path, copy, executable=executable)
    return copy.replace(path)
