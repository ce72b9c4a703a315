"""What a build would do and why, without doing it: for plan, explain and graph."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from phibuild.engine.building.costs import expected_cost, input_size
from phibuild.engine.declaration import (
    Declaration,
    model_facts,
)
from phibuild.engine.keys import facts, file_digests, known_result
from phibuild.engine.placing.place import check_place, is_held
from phibuild.engine.reading.inputs import digest_of_input
from phibuild.engine.workshop import Workshop
from phibuild.model.action import SLICES, TOLD, Action, Assembly, Step, step_of, taken_of
from phibuild.model.digest import Digest
from phibuild.model.errors import PhiError
from phibuild.model.facts import Difference, differences
from phibuild.model.manifest import Manifest
from phibuild.model.tree import Tree
from phibuild.source import Checkpoint, slice_items
from phibuild.store import ActionResult, Cost


class Standing(enum.Enum):
    """How a target stands to what the SConstruct asks for now."""

    UP_TO_DATE = "up to date"
    RECALL = "recall"
    WORK = "work"
    WAITS = "wait"


@dataclass(frozen=True, slots=True)
class ActionState:
    """One action of a target: whether its result is in the store, what it is expected to cost if
    one like it ever ran, which of its facts changed since the artifact that is there was made, and
    what its worker tells people.
    """

    action: Action
    is_known: bool
    cost: Cost | None
    changes: tuple[Difference, ...]
    told: str


@dataclass(frozen=True, slots=True)
class Described:
    """A declaration with the step that makes it (None while that cannot be planned), its standing,
    the reason, and its actions, inputs first."""

    declaration: Declaration
    step: Step | None
    standing: Standing
    reason: str
    actions: tuple[ActionState, ...]
    manifest: Manifest | None

    @property
    def seconds(self) -> float | None:
        """What the actions that have to run are expected to take; None if that is not known."""
        if self.standing is Standing.WAITS:
            return None
        costs = [one.cost for one in self.actions if not one.is_known]
        known = [cost.seconds for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None


def describe(shop: Workshop, declaration: Declaration) -> Described:
    """Compare what is there with what is asked for. Reads sources that have changed."""
    manifest = shop.manifest_of(declaration.target)
    waits_for = missing_source(shop, declaration)
    if waits_for is not None:
        reason = f"{waits_for.name} is not made yet"
        return Described(declaration, None, Standing.WAITS, reason, (), manifest)
    checkpoint = shop.checkpoint(declaration.model.folder) if declaration.model else None
    action = declaration.action(model_facts(checkpoint))
    previous = shop.store.recall(manifest.key) if manifest is not None else None
    states: list[ActionState] = []
    _walk(shop, action, checkpoint, previous, set(), states)
    result = _result(shop, action, checkpoint)
    reason = ""
    if manifest is None:
        reason = "it was never built here"
    elif result is None or result.key != manifest.key:
        changes = [str(change) for state in states for change in state.changes]
        reason = "; ".join(dict.fromkeys(changes)) or "what it was made of is no longer known"
    elif not shop.is_made(declaration, manifest.tree):
        reason = "its files were deleted or changed"
    if reason and (result is None or not is_held(shop, declaration, result.tree)):
        try:
            check_place(shop, declaration)
        except PhiError as error:
            reason = error.message
    if not reason:
        standing = Standing.UP_TO_DATE
    elif result is not None and shop.store.has(result.tree):
        standing = Standing.RECALL
    else:
        standing = Standing.WORK
    return Described(declaration, action, standing, reason, tuple(states), manifest)


def told(shop: Workshop, result: Tree) -> str:
    """What the worker that made this tells people of it; empty if it tells nothing."""
    entry = next((one for one in result.entries if one.path == TOLD), None)
    if entry is None or not shop.store.has(Tree((entry,))):
        return ""
    return shop.store.object_path(entry).read_text("utf-8").strip()


def missing_source(shop: Workshop, declaration: Declaration) -> Path | None:
    """A folder or file that another target of this build makes and that is not there yet."""
    model = declaration.model
    if model is not None and model.made_here and shop.manifest_of(model.folder) is None:
        return model.folder
    files = [path for path in declaration.sources if model is None or path != model.folder]
    return next((path for path in files if not path.exists()), None)


def _walk(
    shop: Workshop,
    step: Step,
    checkpoint: Checkpoint | None,
    previous: ActionResult | None,
    seen: set[Step],
    states: list[ActionState],
) -> None:
    if step in seen:
        return
    seen.add(step)
    before = dict(previous.inputs) if previous is not None else {}
    trees: dict[str, Tree] = {}
    for name, one in step.inputs:
        needed = step_of(one)
        if needed is not None:
            earlier = shop.store.recall(before[name]) if name in before else None
            _walk(shop, needed, checkpoint, earlier, seen, states)
            result = _result(shop, needed, checkpoint)
            if result is not None:
                trees[name] = taken_of(one, result.tree)
    if isinstance(step, Assembly):
        return  # it does no work, and what changes in it is what it is made of
    digests = {name: digest_of_input(tree) for name, tree in trees.items()}
    result = _result(shop, step, checkpoint)
    states.append(
        ActionState(
            step,
            result is not None,
            expected_cost(shop, step, input_size(step, checkpoint, trees)),
            _changes(shop, step, checkpoint, previous, digests),
            told(shop, result.tree) if result is not None else "",
        )
    )


def _result(shop: Workshop, action: Step, checkpoint: Checkpoint | None) -> ActionResult | None:
    known = known_result(shop, action, checkpoint)
    return known[1] if known is not None else None


def _changes(
    shop: Workshop,
    action: Action,
    checkpoint: Checkpoint | None,
    previous: ActionResult | None,
    digests: dict[str, Digest],
) -> tuple[Difference, ...]:
    """The facts that changed. An input whose own action must run counts as it was: that action
    has the reason, and its result may turn out the same."""
    if previous is None:
        return ()
    was = {fact.name: fact.value for fact in previous.facts}
    for name, one in action.inputs:
        if step_of(one) is not None and name not in digests and f"input.{name}" in was:
            digests[name] = Digest.parse(was[f"input.{name}"])
    digests |= file_digests(shop, action)
    if any(name not in digests for name, _ in action.inputs):
        return ()
    changed = differences(previous.facts, facts(shop, action, checkpoint, digests))
    # A changed input is the consequence of a change that its own action already names.
    made = {f"input.{name}" for name, one in action.inputs if step_of(one) is not None}
    return tuple(
        _in_detail(shop, action, change, checkpoint)
        for change in changed
        if change.name not in made
    )


def _in_detail(
    shop: Workshop, action: Action, change: Difference, checkpoint: Checkpoint | None
) -> Difference:
    """A changed slice told by its fields or tensors, and changed code by its files, if what it was
    before is still known."""
    before = shop.store.index.items_of(change.before) if change.before and change.after else None
    if before is None:
        return change
    if change.name == "worker":
        return change.in_detail(before, shop.code.read(action).items)
    for name in SLICES:
        if change.name == name and checkpoint is not None:
            return change.in_detail(before, slice_items(checkpoint, name))
    return change
