"""Recording results: the outputs of a run, or the tree of an assembly, under their keys."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from phibuild import __version__
from phibuild.engine.building.costs import input_size, record_cost
from phibuild.engine.building.listener import WorkerListener
from phibuild.engine.keys import KeyedStep, StepT
from phibuild.model.action import Action, Assembly, assembled
from phibuild.model.errors import ActionError
from phibuild.model.tree import Tree
from phibuild.process.supervised import ProcessExit
from phibuild.source import Checkpoint, slice_items
from phibuild.store import ActionResult, Cost, Store

_MAKER = f"phibuild {__version__}"


def record_run(
    store: Store,
    batch: Sequence[KeyedStep[Action]],
    checkpoint: Checkpoint | None,
    listener: WorkerListener,
    outcome: ProcessExit,
) -> list[ActionResult]:
    """Put the outputs of a run into the store, and record the result, the pieces and the cost of
    each action. The time is shared among the actions by the size of their outputs."""
    trees = [
        store.put(output, listener.digests[number])
        for number, output in enumerate(listener.outputs)
    ]
    whole = sum(tree.size for tree in trees)
    results = []
    for step, tree in zip(batch, trees, strict=True):
        share = tree.size / whole if whole else 1 / len(batch)
        seconds = outcome.seconds * share
        results.append(_result(step, tree, seconds=seconds, peak_bytes=outcome.peak_bytes))
    for number, (step, result) in enumerate(zip(batch, results, strict=True)):
        store.record(result)
        for entry in result.tree.entries:
            pieces = listener.pieces.get((number, entry.path))
            if pieces is not None:
                store.record_pieces(entry, pieces)
        if not listener.recalled:  # else it took less than the next may take
            size = input_size(step.step, checkpoint, step.trees)
            cost = Cost(size, result.seconds, result.peak_bytes, result.tree.size)
            record_cost(store, step.step, cost)
    if checkpoint is not None:
        for name in batch[0].step.slices:
            items = slice_items(checkpoint, name)
            store.index.record_items(str(checkpoint.slices[name]), items)
    return results


def record_assembly(store: Store, step: KeyedStep[Assembly]) -> ActionResult:
    """Record the tree that puts the inputs' files side by side; their bytes are in the store."""
    assembly = step.step
    try:
        tree = assembled([(name, step.trees[name]) for name, _ in assembly.inputs])
    except ValueError as error:
        raise ActionError(f"{assembly.name}: {error}", code="PHI403") from None
    result = _result(step, tree, seconds=0.0, peak_bytes=0)
    store.record(result)
    return result


def _result(step: KeyedStep[StepT], tree: Tree, *, seconds: float, peak_bytes: int) -> ActionResult:
    return ActionResult(
        key=step.key,
        action=step.step.name,
        facts=step.facts,
        inputs=tuple((name, result.key) for name, result in step.results.items()),
        tree=tree,
        seconds=round(seconds, 3),
        peak_bytes=peak_bytes,
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        maker=_MAKER,
    )
