"""From a step to its facts and its key, and from the key to the recorded result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from phibuild.engine.reading.inputs import UserInput, digest_of_input, user_inputs
from phibuild.engine.workers.toolchains import Toolchains
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action, Step, facts_of, input_tree, step_of
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.facts import Facts, action_key
from phibuild.model.tree import Tree
from phibuild.source import Checkpoint
from phibuild.store import ActionResult

StepT = TypeVar("StepT", bound=Step)


class KeyedStep(NamedTuple, Generic[StepT]):
    """A step with its facts; the results of its input steps, what it reads of each of them, and the
    user's files among its inputs."""

    step: StepT
    facts: Facts
    results: Mapping[str, ActionResult]
    trees: Mapping[str, Tree]
    files: Mapping[str, UserInput]

    @property
    def key(self) -> Digest:
        """The key of its result."""
        return action_key(self.facts)


def keyed(
    shop: Workshop,
    step: StepT,
    checkpoint: Checkpoint | None,
    results: Mapping[str, ActionResult],
) -> KeyedStep[StepT]:
    """The step over these results of its input steps."""
    trees = {
        name: input_tree(source, results[name].tree)
        for name, source in step.inputs
        if name in results
    }
    files = user_inputs(shop.sources, step)
    digests = {name: file.digest for name, file in files.items()}
    digests |= {name: digest_of_input(tree) for name, tree in trees.items()}
    return KeyedStep(step, facts(shop.toolchains, step, checkpoint, digests), results, trees, files)


def facts(
    toolchains: Toolchains,
    step: Step,
    checkpoint: Checkpoint | None,
    inputs: Mapping[str, Digest],
) -> Facts:
    """The facts of a step whose inputs have these digests."""
    return facts_of(
        step,
        worker=toolchains.code.read(step).digest if isinstance(step, Action) else None,
        slices={} if checkpoint is None else checkpoint.slices,
        inputs=inputs,
        toolchains=toolchains.facts(step),
    )


Results = dict[int, ActionResult | None]
"""Recorded results of steps, by the identity of the step; None where none is known."""


def recall(
    shop: Workshop, step: Step, checkpoint: Checkpoint | None, known: Results | None = None
) -> ActionResult | None:
    """The result that is recorded under a step's key. None if there is none, or if an input step
    has none, so that the key is not known. Nothing runs, and the files of the result may be gone.
    `known` collects the results of the step and of all that it needs, for later calls."""
    if known is None:
        known = {}
    if id(step) not in known:
        known[id(step)] = _recall(shop, step, checkpoint, known)
    return known[id(step)]


def _recall(
    shop: Workshop, step: Step, checkpoint: Checkpoint | None, known: Results
) -> ActionResult | None:
    results = {}
    for name, input in step.inputs:
        needed = step_of(input)
        if needed is not None:
            result = recall(shop, needed, checkpoint, known)
            if result is None:
                return None
            results[name] = result
    return shop.store.recall(keyed(shop, step, checkpoint, results).key)


def identity(toolchains: Toolchains, action: Action) -> Digest:
    """What does the work: the digest of the worker's code and of its toolchains."""
    return digest_of_value(
        [str(toolchains.code.read(action).digest), str(toolchains.digest(action))]
    )
