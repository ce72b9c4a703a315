"""The type of each tensor with which the file fits and the expected loss is minimal.

The multiple-choice knapsack problem, solved exactly. All numbers are integers, so every machine
gets the same result. The relaxation, which may mix two types of a tensor, gives a bound and a price
per byte. At that price, the regret of a choice is what it costs more than its tensor's cheapest
one. An allocation exceeds the bound by its regrets plus the price of the bytes that it leaves
unused. All allocations within some distance of the bound are enumerated, by size, and the distance
is doubled until one of them fits: no better one exists. (Bound and reduction are those of Dyer,
Kayal and Walker, "A branch and bound algorithm for solving the multiple-choice knapsack problem",
1984; the states are those of dynamic programming.)
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

MOST_STATES = 100_000
"""Partial allocations kept at a time. If more are needed, the result may not be optimal."""


class Choice(NamedTuple):
    """A type of a tensor: its size in bytes, and the loss."""

    size: int
    loss: int


class Allocation(NamedTuple):
    """The index of each tensor's choice. No allocation that fits has a loss below `least`."""

    chosen: tuple[int, ...]
    size: int
    loss: int
    least: int


class _TooMany(Exception):
    """The search needs more states than are kept."""


def least_size(tensors: Sequence[Sequence[Choice]]) -> int:
    """The bytes of the smallest allocation."""
    return sum(min(choice.size for choice in choices) for choices in tensors)


def allocate(
    tensors: Sequence[Sequence[Choice]], room: int, *, most_states: int = MOST_STATES
) -> Allocation:
    """The allocation of least loss in at most `room` bytes; the smallest of several.

    ValueError if none fits: see `least_size`.
    """
    if least_size(tensors) > room:
        raise ValueError("no choice fits")
    chosen, price = _relaxed(tensors, room)
    first = _allocation(tensors, chosen)
    if price.loss == 0:
        return first
    # Costs are losses times price.size, which makes them integers.
    costs = [
        [choice.loss * price.size + choice.size * price.loss for choice in choices]
        for choices in tensors
    ]
    regrets = [[cost - min(of_tensor) for cost in of_tensor] for of_tensor in costs]
    bound = sum(map(min, costs)) - room * price.loss
    worst = first.loss * price.size - bound
    distance, searched = max(1, worst >> 12), 0
    while True:
        try:
            best = _within(distance, tensors, regrets, room, price.loss, most_states)
        except _TooMany:
            return first._replace(least=-(-(bound + searched) // price.size))
        if best is not None:
            return _allocation(tensors, best)
        distance, searched = min(2 * distance, worst), distance


def _relaxed(tensors: Sequence[Sequence[Choice]], room: int) -> tuple[list[int], Choice]:
    """The best steps from type to type while they fit, and the first step that does not: its loss
    per size is the price of a byte. (0, 0) if all fit."""
    hulls = [_hull(choices) for choices in tensors]
    chosen = [hull[0] for hull in hulls]
    left = room - sum(tensors[number][index].size for number, index in enumerate(chosen))
    steps = [
        (tensors[number][index], tensors[number][following], number, following)
        for number, hull in enumerate(hulls)
        for index, following in pairwise(hull)
    ]
    # By gain per byte; the steps of a tensor are in falling order, and the sort is stable.
    steps.sort(key=lambda step: Fraction(step[0].loss - step[1].loss, step[0].size - step[1].size))
    for before, after, number, index in steps:
        step = Choice(after.size - before.size, before.loss - after.loss)
        if step.size > left:
            return chosen, step
        left -= step.size
        chosen[number] = index
    return chosen, Choice(0, 0)


def _hull(choices: Sequence[Choice]) -> list[int]:
    """The indices of the choices on the lower convex hull, smallest size first."""
    kept: list[int] = []
    for index in sorted(range(len(choices)), key=choices.__getitem__):
        new = choices[index]
        if kept and new.loss >= choices[kept[-1]].loss:
            continue
        while len(kept) > 1 and not _is_convex(choices[kept[-2]], choices[kept[-1]], new):
            kept.pop()
        kept.append(index)
    return kept


def _is_convex(small: Choice, middle: Choice, large: Choice) -> bool:
    """Whether the step to the middle gains more per byte than the step from there to the large."""
    first, second = small.loss - middle.loss, middle.loss - large.loss
    return first * (large.size - middle.size) > second * (middle.size - small.size)


def _within(
    distance: int,
    tensors: Sequence[Sequence[Choice]],
    regrets: Sequence[Sequence[int]],
    room: int,
    price: int,
    most_states: int,
) -> list[int] | None:
    """The best allocation that fits and is within the distance of the bound; None without one."""
    kept = [
        [
            (index, choices[index].size, regret)
            for index, regret in enumerate(of_tensor)
            if regret <= distance
        ]
        for choices, of_tensor in zip(tensors, regrets, strict=True)
    ]
    # The least and the most bytes of the tensors from each position on.
    least = _sums_from([min(size for _, size, _ in choices) for choices in kept])
    most = _sums_from([max(size for _, size, _ in choices) for choices in kept])
    states: dict[int, tuple[int, _Path]] = {0: (0, None)}
    for number, choices in enumerate(kept):
        following: dict[int, tuple[int, _Path]] = {}
        for used, (regret_so_far, path) in states.items():
            for index, size, regret in choices:
                size, regret = used + size, regret_so_far + regret
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
    """The sum of the sizes from each position on, and 0."""
    return [*accumulate(reversed(sizes), initial=0)][::-1]


def _allocation(tensors: Sequence[Sequence[Choice]], chosen: Sequence[int]) -> Allocation:
    picked = [choices[index] for choices, index in zip(tensors, chosen, strict=True)]
    loss = sum(choice.loss for choice in picked)
    return Allocation(tuple(chosen), sum(choice.size for choice in picked), loss, loss)
