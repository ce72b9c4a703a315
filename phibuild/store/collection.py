"""Collection: results that nothing needs go, then the objects that no result refers to.

It is safe beside running builds. It decides without a lock; then it moves objects away in one step,
under the lock that excludes new leases (leases.py), except those that are leased.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from phibuild.store.leases import GATE, leased
from phibuild.store.leftovers import leftovers, remove_locks
from phibuild.store.locks import locked
from phibuild.store.place import clear_leftovers
from phibuild.store.retention import Rule, kept
from phibuild.store.settings import limit_of, pins_of
from phibuild.store.store import Store
from phibuild.store.survey import Survey, installed_keys, survey, targets_in_place
from phibuild.store.usage import bytes_below, counted_usage
from phibuild.store.workspaces import remove

_TICK_NS = 20_000_000
"""The clocks of file systems lag behind by a tick or two."""
_SHARE = 0.9
"""The part of a limit that is filled after a collection, so that not each build causes one."""


class Plan(NamedTuple):
    """What to remove: results by key with their objects, the names of objects that nothing refers
    to then, and other files. `slices` are those that stay known. `freed` are the bytes that this
    frees, `left` those that a limit counts afterwards; `began` is the time of the decision."""

    results: dict[str, tuple[str, ...]]
    objects: tuple[str, ...]
    others: tuple[Path, ...]
    slices: frozenset[str]
    freed: int
    left: int
    began: int


class Freed(NamedTuple):
    """The bytes that a collection freed, and the new names of the user's files that it found in the
    folder of a killed build."""

    bytes: int
    kept: tuple[Path, ...]


def plan_collection(store: Store, *, keep: int | None = None, since: float = 0.0) -> Plan:
    """Decide what to remove: results that were last used before `since` (seconds since 1970),
    unless they are pinned or their artifacts are in place, and as many more as it takes to `keep`
    to that many bytes."""
    began = time.time_ns() - _TICK_NS
    content = survey(store)
    others = [*leftovers(store.root, now=time.time()), *content.damage]
    freed = sum(bytes_below(path) for path in others)
    used = counted_usage(store.root)
    held = sum(content.objects.values()) + sum(result.bytes for result in content.results.values())
    room = None if keep is None else max(0, keep - (used - freed - held))
    in_place = set(targets_in_place(store).values()) | installed_keys(
        store.root, iter(content.results)
    )
    pinned = {key.hex for key in pins_of(store.root)}
    keys = kept(content.results, content.objects, Rule(pinned, in_place, since, room))
    results = {key: result.objects for key, result in content.results.items() if key not in keys}
    objects = _unreferred(content, keys)
    freed += sum(content.results[key].bytes for key in results)
    freed += sum(content.objects[name] for name in objects)
    slices = frozenset[str]().union(*(content.slices[key] for key in keys))
    return Plan(results, objects, tuple(others), slices, freed, used - freed, began)


def _unreferred(content: Survey, keys: set[str]) -> tuple[str, ...]:
    needed = {name for key in keys for name in content.results[key].objects}
    return tuple(name for name in content.objects if name not in needed)


def carry_out(store: Store, plan: Plan) -> Freed:
    """Remove what was planned, except what a build has begun to use since."""
    before = counted_usage(store.root)
    kept: list[Path] = []
    with locked(store.root / "locks" / "collection"):
        with store.workspace() as trash:
            with locked(store.root / "locks" / GATE):
                gone = _take_away(store, plan, trash)
            for path in plan.others:
                with suppress(OSError):
                    remove(path)
        for name in gone:
            store.index.forget_object(name)
        store.index.prune(slices=plan.slices)
        for target in store.index.placed_targets():
            with suppress(OSError):
                clear_leftovers(Path(target), kept.append)
    remove_locks(store.root)
    return Freed(before - counted_usage(store.root), tuple(kept))


def _take_away(store: Store, plan: Plan, trash: Path) -> Sequence[str]:
    """Move results and objects into the trash; the names of the objects."""
    in_use = leased(store.root, since=plan.began)
    for key, objects in plan.results.items():
        path = store.root / "results" / key
        with suppress(OSError):
            is_used = path.stat().st_mtime_ns >= plan.began or not in_use.isdisjoint(objects)
            if not is_used:
                _move(path, trash)
    gone = [name for name in plan.objects if name not in in_use]
    for name in gone:
        with suppress(OSError):
            _move(store.object_named(name), trash)
    return gone


def _move(path: Path, trash: Path) -> None:
    try:
        os.rename(path, trash / path.name)  # noqa: PTH104
    except OSError:  # the objects may lie on another disk
        path.unlink()


def collect_to_limit(store: Store) -> Freed | None:
    """Collect if the store is larger than its limit; None if it is not. The process no longer uses
    the store."""
    limit = limit_of(store.root)
    if limit is None or counted_usage(store.root) <= limit:
        return None
    store.lease.release()
    return carry_out(store, plan_collection(store, keep=int(limit * _SHARE)))
