"""Bytes at rest: objects by digest, action results by key, and what was seen of files."""

from phibuild.store.index import Cost, Index, Piece
from phibuild.store.locks import FolderLock, locked
from phibuild.store.place import put_in_place
from phibuild.store.results import ActionResult
from phibuild.store.store import Store, Told, store_root

__all__ = [
    "ActionResult",
    "Cost",
    "FolderLock",
    "Index",
    "Piece",
    "Store",
    "Told",
    "locked",
    "put_in_place",
    "store_root",
]
