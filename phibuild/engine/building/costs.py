"""What actions cost when they last ran, and what they are expected to cost by that."""

from __future__ import annotations

from collections.abc import Mapping

from phibuild.model.action import Action, Step
from phibuild.model.digest import digest_of_value
from phibuild.model.tree import Tree
from phibuild.source import Checkpoint
from phibuild.store import Cost, Store


def input_size(step: Step, checkpoint: Checkpoint | None, trees: Mapping[str, Tree]) -> int:
    """Bytes that the step reads: what its cost is scaled by."""
    size = checkpoint.size if checkpoint is not None and "weights" in step.slices else 0
    return size + sum(tree.size for tree in trees.values())


def record_cost(store: Store, action: Action, cost: Cost) -> None:
    """Remember what a run cost, for actions of its recipe and for all of its name."""
    store.index.record_cost(_kind(action), cost)
    store.index.record_cost(action.name, cost)


def expected_cost(store: Store, step: Step, size: int) -> Cost | None:
    """The cost of the last action of this name and recipe that read about as much, else of the last
    one of this name, scaled from the size of its input to `size`. Only one of the recipe says how
    large the output is. None if no such action ever ran."""
    last = store.index.cost_of(_kind(step), near=size)
    if last is None:
        last = store.index.cost_of(step.name, near=size)
        if last is None:
            return None
        last = last._replace(output_bytes=None)
    scale = size / last.input_bytes if size and last.input_bytes else 1.0
    return Cost(
        input_bytes=size,
        seconds=last.seconds * scale,
        peak_bytes=int(last.peak_bytes * scale),
        output_bytes=None if last.output_bytes is None else int(last.output_bytes * scale),
    )


def _kind(step: Step) -> str:
    return f"{step.name} {digest_of_value([list(pair) for pair in step.recipe]).hex[:16]}"
