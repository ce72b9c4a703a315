"""Which type each tensor gets, so that the file fits and the expected loss is the least there is.

The multiple-choice knapsack, solved exactly. All numbers are integers, so that each machine finds
the same. The relaxation that may mix two types of a tensor gives a bound, and with it a price for a
byte. At that price each choice costs its tensor's best or more: what it costs more is its regret.
An allocation is as much worse than the bound as its regrets and the price of the bytes that it
leaves come to. So all allocations within some distance of the bound are enumerated, by the bytes
that they take, and the distance is doubled until one of them fits: then no better one exists.
(Bound and reduction are those of Dyer, Kayal and Walker, "A branch and bound algorithm for solving
the multiple-choice knapsack problem", 1984; the states are those of dynamic programming.)

Standard library only; a part of the allocating worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

MOST_STATES = 100_000
"""Partial allocations that are kept at a time. Where more are needed, the gap is stated."""


class Choice(NamedTuple):
    """A type of a tensor: what it weighs, and what is lost with it."""

    size: int
    loss: int


class Allocation(NamedTuple):
    """For each tensor the index of its choice. No allocation that fits loses less than `least`."""

    chosen: tuple[int, ...]
    size: int
    loss: int
    least: int


class _TooMany(Exception):
    """The search needs more states than are kept."""


def least_size(tensors: Sequence[Sequence[Choice]]) -> int:
    """Bytes that no allocation goes below."""
    return sum(min(one.size for one in each) for each in tensors)


def allocate(
    tensors: Sequence[Sequence[Choice]], room: int, *, most_states: int = MOST_STATES
) -> Allocation:
    """The allocation of least loss that takes `room` bytes at most; of several such the smallest.

    ValueError if there is none: see `least_size`.
    """
    if least_size(tensors) > room:
        raise ValueError("no choice fits")
    chosen, price = _relaxed(tensors, room)
    first = _allocation(tensors, chosen)
    if price.loss == 0:
        return first
    # Costs are in units of 1 / price.size of a loss, in which all of them are whole.
    costs = [[one.loss * price.size + one.size * price.loss for one in each] for each in tensors]
    regrets = [[cost - min(each) for cost in each] for each in costs]
    bound = sum(map(min, costs)) - room * price.loss
    worst = first.loss * price.size - bound
    distance, searched = max(1, worst >> 12), 0
    while True:
        try:
            found = _within(distance, tensors, regrets, room, price.loss, most_states)
        except _TooMany:
            return first._replace(least=-(-(bound + searched) // price.size))
        if found is not None:
            return _allocation(tensors, found)
        distance, searched = min(2 * distance, worst), distance


def _relaxed(tensors: Sequence[Sequence[Choice]], room: int) -> tuple[list[int], Choice]:
    """The best steps from type to type, as long as they fit, and the step that does not any more:
    a loss for a size, which is the price of a byte. (0, 0) if all fit."""
    hulls = [_hull(each) for each in tensors]
    chosen = [hull[0] for hull in hulls]
    left = room - sum(tensors[number][index].size for number, index in enumerate(chosen))
    steps = [
        (tensors[number][one], tensors[number][other], number, other)
        for number, hull in enumerate(hulls)
        for one, other in pairwise(hull)
    ]
    # By gain for a byte; the sort is stable, and the steps of a tensor lie in falling order.
    steps.sort(key=lambda step: Fraction(step[0].loss - step[1].loss, step[0].size - step[1].size))
    for one, other, number, index in steps:
        gained = Choice(other.size - one.size, one.loss - other.loss)
        if gained.size > left:
            return chosen, gained
        left -= gained.size
        chosen[number] = index
    return chosen, Choice(0, 0)


def _hull(choices: Sequence[Choice]) -> list[int]:
    """The indices of the choices that no mixture of two others beats, smallest first."""
    kept: list[int] = []
    for index in sorted(range(len(choices)), key=choices.__getitem__):
        new = choices[index]
        if kept and new.loss >= choices[kept[-1]].loss:
            continue
        while len(kept) > 1 and not _is_convex(choices[kept[-2]], choices[kept[-1]], new):
            kept.pop()
        kept.append(index)
    return kept


def _is_convex(one: Choice, middle: Choice, other: Choice) -> bool:
    """Whether the step to the middle gains more for a byte than the step on from there."""
    first, second = one.loss - middle.loss, middle.loss - other.loss
    return first * (other.size - middle.size) > second * (middle.size - one.size)


def _within(
    distance: int,
    tensors: Sequence[Sequence[Choice]],
    regrets: Sequence[Sequence[int]],
    room: int,
    price: int,
    most_states: int,
) -> list[int] | None:
    """The best allocation that fits and is no farther from the bound; None if there is none."""
    kept = [
        [
            (index, choices[index].size, regret)
            for index, regret in enumerate(of_tensor)
            if regret <= distance
        ]
        for choices, of_tensor in zip(tensors, regrets, strict=True)
    ]
    # What the tensors to come take at least and at the most.
    least = _sums_from([min(size for _, size, _ in each) for each in kept])
    most = _sums_from([max(size for _, size, _ in each) for each in kept])
    states: dict[int, tuple[int, _Path]] = {0: (0, None)}
    for number, each in enumerate(kept):
        following: dict[int, tuple[int, _Path]] = {}
        for taken, (regretted, path) in states.items():
            for index, size, regret in each:
                size, regret = taken + size, regretted + regret
                left = room - size - most[number + 1]
                if size + least[number + 1] > room or regret + max(left, 0) * price > distance:
                    continue
                known = following.get(size)
                if known is None or regret < known[0]:
                    following[size] = regret, (index, path)
        if len(following) > most_states:
            raise _TooMany
        states = following
    if not states:
        return None
    best = min(states, key=lambda size: (states[size][0] + (room - size) * price, size))
    return _chosen_on(states[best][1])


_Path = tuple[int, Any] | None
"""The choice for the last tensor, and the path before it."""


def _chosen_on(path: _Path) -> list[int]:
    chosen = []
    while path is not None:
        index, path = path
        chosen.append(index)
    return chosen[::-1]


def _sums_from(sizes: Sequence[int]) -> list[int]:
    """The sums of all sizes from each position on, and of none."""
    return [*accumulate(reversed(sizes), initial=0)][::-1]


def _allocation(tensors: Sequence[Sequence[Choice]], chosen: Sequence[int]) -> Allocation:
    taken = [each[index] for each, index in zip(tensors, chosen, strict=True)]
    loss = sum(one.loss for one in taken)
    return Allocation(tuple(chosen), sum(one.size for one in taken), loss, loss)
