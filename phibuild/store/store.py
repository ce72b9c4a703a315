"""The store: files by digest and action results by key, written beside and renamed, never modified.

format            the version of this layout
objects/ab/<hex>  read-only files; `<hex>.x` where the file is executable
results/<hex>     action results by action key
index.sqlite      what was seen of files (see index.py); may be deleted at any time
locks/ work/      one build at a time for each action; workspaces
toolchains/ uv/   Python toolchains and the cache that they are linked from
bytecode/ logs/   what Python compiled of them and of workers; the last words of actions
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from phibuild.model.digest import Digest
from phibuild.model.errors import StoreError
from phibuild.model.tree import THE_FILE, Entry, Tree
from phibuild.store.index import Index, Piece, hash_file
from phibuild.store.locks import locked
from phibuild.store.place import put_in_place
from phibuild.store.results import ActionResult

FORMAT = "phibuild-store/1\n"
_MAY_BE_THERE = frozenset({"lost+found", "toolchains", "uv", "bytecode"})


def store_root() -> Path:
    """PHIBUILD_STORE, else `phibuild` in the user's cache folder."""
    explicit = os.environ.get("PHIBUILD_STORE")
    if explicit:
        return Path(explicit).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "phibuild"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phibuild"


class Told(NamedTuple):
    """A digest that whoever wrote a file took on the way, and the file's stat signature then."""

    digest: Digest
    signature: str


@dataclass(frozen=True)
class Store:
    """A store in a folder, created on first use."""

    root: Path

    def __post_init__(self) -> None:
        marker = self.root / "format"
        try:
            if not marker.exists():
                self.root.mkdir(parents=True, exist_ok=True)
                self._refuse_a_users_folder(marker)
                _write(marker, FORMAT)
            found = marker.read_text("utf-8")
        except OSError as error:
            raise StoreError(
                f"the store {self.root} cannot be used: {error.strerror}",
                hint="set PHIBUILD_STORE to a folder that you may write to",
            ) from None
        if found != FORMAT:
            raise StoreError(
                f"the store {self.root} has format {found.strip()!r}, not {FORMAT.strip()!r}",
                hint="update phibuild, or set PHIBUILD_STORE to another folder",
                code="PHI301",
            )

    def _refuse_a_users_folder(self, marker: Path) -> None:
        """StoreError PHI302 if a folder without a format holds anything but what comes with a file
        system, links to another store's toolchains, or what a process that creates this store at
        the same time wrote."""
        found = sorted({path.name for path in self.root.iterdir()} - _MAY_BE_THERE)
        others = [name for name in found if not name.startswith(f".{marker.name}.")]
        if others and not marker.exists():
            more = ", ..." if len(others) > 3 else ""
            raise StoreError(
                f"the folder {self.root} is not a store and is not empty:"
                f" it holds {', '.join(others[:3])}{more}",
                hint="set PHIBUILD_STORE to an empty folder, or to one that does not exist",
            )

    @cached_property
    def index(self) -> Index:
        """The index of files seen."""
        return Index(self.root / "index.sqlite")

    def locked(self, name: str) -> AbstractContextManager[None]:
        """A context in which nobody else has the lock of this name."""
        return locked(self.root / "locks" / name)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A fresh folder on the store's file system, gone afterwards."""
        work = self.root / "work"
        work.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=work))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # Results

    def recall(self, key: Digest) -> ActionResult | None:
        """The action result recorded under this key. Its files may be gone: see `has`."""
        try:
            return ActionResult.from_text(self._result_path(key).read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None  # an unreadable record is a miss; the next one replaces it

    def record(self, result: ActionResult) -> None:
        """Remember a result whose files are in the store."""
        _write(self._result_path(result.key), result.to_text())

    # Pieces

    def recall_piece(self, key: str) -> tuple[Path, Piece] | None:
        """Where the piece of this key lies: an object and a range of it. None if it is not known,
        or its object is gone or was changed. Whoever reads it compares its sha256."""
        known = self.index.piece(key)
        if known is None:
            return None
        place = Path(self._object_named(known[0]))
        sealed = self.index.recall(place, "seal") is not None
        return (place, known[1]) if sealed else None

    def record_pieces(self, entry: Entry, pieces: Mapping[str, Piece]) -> None:
        """Remember ranges of an object by their keys. It costs no disk."""
        self.index.record_pieces(self.object_path(entry).name, pieces)

    # Objects

    def put(self, path: Path, told: Mapping[str, Told] = MappingProxyType({})) -> Tree:
        """Move a file or folder that an action made into the store. A file of it whose digest was
        `told`, by its name in the tree, is read only if it has changed since."""
        if path.is_file() and not path.is_symlink():
            return Tree((self._put_file(path, THE_FILE, told.get(THE_FILE)),))
        files = sorted(
            (child.relative_to(path).as_posix(), child)
            for child in path.rglob("*")
            if child.is_symlink() or not child.is_dir()
        )
        for name, child in files:
            if child.is_symlink() or not child.is_file():
                raise StoreError(f"{name} in the output is not a regular file", code="PHI403")
        return Tree(tuple(self._put_file(child, name, told.get(name)) for name, child in files))

    def told(self, path: Path, digest: Digest) -> Told:
        """A digest for `put`, of a file as it is now."""
        return Told(digest, self.index.signature(path))

    def has(self, tree: Tree) -> bool:
        """Whether every file of the tree is here and is what its name says."""
        return all(self._is_sound(entry) for entry in tree.entries)

    def materialise(self, tree: Tree, target: Path) -> None:
        """Put the tree at `target`, sharing disk blocks where the file system allows it.

        StoreError PHI302 if a file of it is gone or damaged; `has` told so before.
        """
        put_in_place(
            tree, target, fetch=lambda position, path: self._fetch(tree.entries[position], path)
        )

    def object_path(self, entry: Entry) -> Path:
        """Where the bytes of this entry lie."""
        return Path(self._object_path(entry))

    def lies_at(self, entry: Entry, place: str) -> bool:
        """Whether this path holds the entry's bytes. Reads the file only if its stat is not known.
        Each null build asks for every file, so that paths are strings here."""
        try:
            if self.index.is_sealed(self._object_path(entry), str(entry.digest), found_at=place):
                return True
            path = Path(place)
            if path.is_symlink() or bool(path.stat().st_mode & 0o100) != entry.executable:
                return False
            return path.stat().st_size == entry.size and self.index.digest_of(path) == entry.digest
        except OSError:
            return False

    def _object_path(self, entry: Entry) -> str:
        return self._object_named(entry.digest.hex + (".x" if entry.executable else ""))

    def _object_named(self, name: str) -> str:
        return f"{self.root}/objects/{name[:2]}/{name}"

    def _put_file(self, path: Path, name: str, told: Told | None) -> Entry:
        stat = path.stat()
        executable = bool(stat.st_mode & 0o100)
        is_known = told is not None and told.signature == self.index.signature(path)
        digest = told.digest if told is not None and is_known else hash_file(path)
        entry = Entry(name, digest, stat.st_size, executable)
        place = self.object_path(entry)
        if self._is_sound(entry):
            path.unlink()
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o555 if executable else 0o444)
            path.replace(place)
            self._seal(entry)
        return entry

    def _is_sound(self, entry: Entry) -> bool:
        """Check an object by its seal, else by its bytes; one that is damaged is thrown away."""
        place = self.object_path(entry)
        if self.index.recall(place, "seal") == str(entry.digest):
            return True
        try:
            if hash_file(place) == entry.digest:
                self._seal(entry)
                return True
            place.unlink()
        except FileNotFoundError:
            pass
        return False

    def _seal(self, entry: Entry) -> None:
        place = self.object_path(entry)
        self.index.record(
            place, "seal", str(entry.digest), seen=self.index.signature(place, "seal")
        )

    def _fetch(self, entry: Entry, path: Path) -> None:
        if not self._is_sound(entry):
            raise StoreError(
                f"the object {entry.digest} is gone or damaged", hint="build again; it is made anew"
            )
        place = self.object_path(entry)
        if _reflink(place, path):
            path.chmod(0o755 if entry.executable else 0o644)
            return
        try:
            path.hardlink_to(place)
        except OSError:
            shutil.copyfile(place, path)
            path.chmod(0o755 if entry.executable else 0o644)
            return
        # Other build tools compare times: what is placed now is newer than what it was made of.
        with self.locked(f"seal-{entry.digest.hex[:16]}"):
            os.utime(path)
            self._seal(entry)

    def _result_path(self, key: Digest) -> Path:
        return self.root / "results" / key.hex


def _reflink(source: Path, target: Path) -> bool:
    from reflink_copy import reflink  # compiled; only needed when something is put in place

    try:
        reflink(str(source), str(target))
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True


def _write(path: Path, text: str) -> None:
    """Write beside, rename over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
            stream.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
