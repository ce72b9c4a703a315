"""Bytes at rest: objects by digest, action results by key, and facts about files."""

from phibuild.store.artifacts import (
    in_the_way,
    lies_at,
    place_artifact,
    placed_tree,
    refuse,
    shown,
)
from phibuild.store.index import Cost, Index, ObjectRange
from phibuild.store.locks import FolderLock, locked
from phibuild.store.placements import place_of
from phibuild.store.results import ActionResult
from phibuild.store.store import KnownDigest, Store, store_root
from phibuild.store.strangers import Stranger

__all__ = [
    "ActionResult",
    "Cost",
    "FolderLock",
    "Index",
    "KnownDigest",
    "ObjectRange",
    "Store",
    "Stranger",
    "in_the_way",
    "lies_at",
    "locked",
    "place_artifact",
    "place_of",
    "placed_tree",
    "refuse",
    "shown",
    "store_root",
]
