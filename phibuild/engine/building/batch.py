"""Batches: actions of several targets that one run of a worker does together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from phibuild.engine.keys import KeyedStep, keyed, recall
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action, FileInput, step_of, steps_of
from phibuild.model.errors import PhiError
from phibuild.source import Checkpoint
from phibuild.store import ActionResult


def companions(
    shop: Workshop, first: KeyedStep[Action], checkpoint: Checkpoint | None
) -> list[KeyedStep[Action]]:
    """The actions of pending targets that the worker of `first` can run along with it: all that
    they need exists, and their results do not."""
    if not first.step.batched or checkpoint is None:
        return []
    batch = {first.key: first}
    for action in _pending(shop, checkpoint):
        if first.step.goes_with(action):
            with contextlib.suppress(PhiError):  # the action's own target reports it
                companion = _ready(shop, action, checkpoint)
                if companion is not None:
                    batch.setdefault(companion.key, companion)
    return list(batch.values())[1:]


def usable_result(shop: Workshop, step: KeyedStep[Action]) -> ActionResult | None:
    """The result of a step, if the store has it with all its files."""
    result = shop.store.recall(step.key)
    return result if result is not None and shop.store.has(result.tree) else None


def _pending(shop: Workshop, checkpoint: Checkpoint) -> Iterator[Action]:
    """The actions of the pending targets of this model."""
    for declaration in list(shop.plans.pending.values()):
        if declaration.model is not None and declaration.model.folder == checkpoint.folder:
            with contextlib.suppress(PhiError):
                plan = shop.plans.with_checkpoint(declaration, checkpoint)
                yield from (step for step in steps_of(plan.step) if isinstance(step, Action))


def _ready(shop: Workshop, action: Action, checkpoint: Checkpoint) -> KeyedStep[Action] | None:
    results = {}
    for name, input in action.inputs:
        needed = step_of(input)
        if needed is not None:
            result = recall(shop, needed, checkpoint)
            if result is None or not shop.store.has(result.tree):
                return None
            results[name] = result
        elif isinstance(input, FileInput) and Path(input.path) in shop.plans.pending:
            return None  # the file exists, and is about to be replaced
    step = keyed(shop, action, checkpoint, results)
    return step if usable_result(shop, step) is None else None
