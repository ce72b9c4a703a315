"""Which results stay in a store: pinned ones, those of artifacts in place, and those used last, as
far as there is room.

A result stays with the results of its inputs: without their records its own key is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple


class ResultUse(NamedTuple):
    """The use of a result: the keys of its inputs' results, the names of its objects, the time of
    its last use (seconds since 1970) and the bytes of its record."""

    inputs: tuple[str, ...]
    objects: tuple[str, ...]
    used: float
    bytes: int


class Rule(NamedTuple):
    """What stays. Pinned results always do. Others do while there is `room`, in bytes (None: there
    is room for all); first those `in_place`, then those used after `since`, the latest first."""

    pinned: Collection[str] = ()
    in_place: Collection[str] = ()
    since: float = 0.0
    room: int | None = None


def kept(results: Mapping[str, ResultUse], sizes: Mapping[str, int], rule: Rule) -> set[str]:
    """The keys of the results that stay; `sizes` are the bytes of each object."""
    keys: set[str] = set()
    objects: set[str] = set()
    free = rule.room

    def rank(key: str) -> tuple[bool, bool, float, str]:
        return (key in rule.pinned, key in rule.in_place, results[key].used, key)

    for key in sorted(results, key=rank, reverse=True):
        is_pinned, is_in_place, used, _ = rank(key)
        if not (is_pinned or is_in_place or used >= rule.since):
            continue
        with_inputs = _with_inputs(results, key) - keys
        new = {name for other in with_inputs for name in results[other].objects} - objects
        size = sum(results[other].bytes for other in with_inputs)
        size += sum(sizes.get(name, 0) for name in new)
        if free is not None and size > free and not is_pinned:
            continue
        keys |= with_inputs
        objects |= new
        free = None if free is None else max(0, free - size)
    return keys


def _with_inputs(results: Mapping[str, ResultUse], key: str) -> set[str]:
    keys = {key}
    waiting = [key]
    while waiting:
        for source in results[waiting.pop()].inputs:
            if source in results and source not in keys:
                keys.add(source)
                waiting.append(source)
    return keys
