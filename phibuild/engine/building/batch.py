"""Batches: actions of several targets that one run of a worker does together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from phibuild.engine.building.run import S, Task
from phibuild.engine.declaration import model_facts
from phibuild.engine.keys import facts, known_result, user_inputs
from phibuild.engine.reading.inputs import digest_of_input
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action, FileInput, step_of, steps_of, taken_of
from phibuild.model.errors import PhiError
from phibuild.source import Checkpoint
from phibuild.store import ActionResult


def task_of(
    shop: Workshop,
    step: S,
    checkpoint: Checkpoint | None,
    results: Mapping[str, ActionResult],
) -> Task[S]:
    """The step with the results of its input steps."""
    trees = {
        name: taken_of(one, results[name].tree) for name, one in step.inputs if name in results
    }
    files = user_inputs(shop, step)
    digests = {name: one.digest for name, one in files.items()}
    digests |= {name: digest_of_input(tree) for name, tree in trees.items()}
    return Task(step, facts(shop, step, checkpoint, digests), results, trees, files)


def going_along(
    shop: Workshop, first: Task[Action], checkpoint: Checkpoint | None
) -> list[Task[Action]]:
    """What this build has to do besides, and the worker of `first` can do in the same run: all that
    it needs is there, and its result is not."""
    if not first.step.batched or checkpoint is None:
        return []
    found = {first.key: first}
    for action in _wanted(shop, checkpoint):
        if first.step.goes_with(action):
            with contextlib.suppress(PhiError):  # its own target will tell
                task = _ready(shop, action, checkpoint)
                if task is not None:
                    found.setdefault(task.key, task)
    return list(found.values())[1:]


def _wanted(shop: Workshop, checkpoint: Checkpoint) -> Iterator[Action]:
    """The actions of the targets of this model that are still to be made."""
    for declaration in list(shop.wanted.values()):
        if declaration.model is not None and declaration.model.folder == checkpoint.folder:
            with contextlib.suppress(PhiError):
                step = declaration.action(model_facts(checkpoint))
                yield from (one for one in steps_of(step) if isinstance(one, Action))


def _ready(shop: Workshop, action: Action, checkpoint: Checkpoint) -> Task[Action] | None:
    results = {}
    for name, one in action.inputs:
        step = step_of(one)
        if step is not None:
            known = known_result(shop, step, checkpoint)
            if known is None or known[1] is None or not shop.store.has(known[1].tree):
                return None
            results[name] = known[1]
        elif isinstance(one, FileInput) and Path(one.path) in shop.wanted:
            return None  # it is there, and about to be another
    task = task_of(shop, action, checkpoint, results)
    result = shop.store.recall(task.key)
    return task if result is None or not shop.store.has(result.tree) else None
