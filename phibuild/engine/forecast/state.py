"""The state of a target: what a build would do and why, without doing it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from phibuild.engine.building.costs import expected_cost, input_size
from phibuild.engine.declaration import Declaration
from phibuild.engine.keys import Results, facts, recall
from phibuild.engine.placing.artifacts import Artifacts
from phibuild.engine.placing.place import check_place, is_held
from phibuild.engine.reading.inputs import digest_of_input, file_digests
from phibuild.engine.workshop import Workshop
from phibuild.model.action import NOTES, SLICES, Action, Step, input_tree, step_of
from phibuild.model.digest import Digest
from phibuild.model.errors import PhiError
from phibuild.model.facts import Difference, differences
from phibuild.model.manifest import Manifest
from phibuild.model.tree import Tree
from phibuild.source import Checkpoint, slice_items
from phibuild.store import ActionResult, Cost, Store


class Standing(enum.Enum):
    """What a build has to do for a target."""

    UP_TO_DATE = "up to date"
    RECALL = "recall"
    WORK = "work"
    WAITS = "wait"


@dataclass(frozen=True, slots=True)
class ActionState:
    """One action of a target: whether its result is in the store; its expected cost, if one like it
    ever ran; which of its facts changed since the artifact in place was built; and the notes that
    its worker left for people."""

    action: Action
    is_known: bool
    cost: Cost | None
    changes: tuple[Difference, ...]
    notes: str


@dataclass(frozen=True, slots=True)
class TargetState:
    """A declaration with the step that makes it (None while it cannot be planned), its standing,
    the reason, and its actions, inputs first."""

    declaration: Declaration
    step: Step | None
    standing: Standing
    reason: str
    actions: tuple[ActionState, ...]

    @property
    def seconds(self) -> float | None:
        """What the actions that have to run are expected to take; None if that is not known."""
        if self.standing is Standing.WAITS:
            return None
        costs = [state.cost for state in self.actions if not state.is_known]
        known = [cost.seconds for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None


def target_state(shop: Workshop, declaration: Declaration) -> TargetState:
    """Compare what is in place with what the SConstruct declares. Reads sources that changed."""
    source = missing_source(shop.artifacts, declaration)
    if source is not None:
        reason = f"{source.name} is not built yet"
        return TargetState(declaration, None, Standing.WAITS, reason, ())
    manifest = shop.artifacts.manifest_of(declaration.target)
    plan = shop.plans.of(declaration)
    previous = shop.store.recall(manifest.key) if manifest is not None else None
    walk = _Walk(shop, plan.checkpoint)
    walk.visit(plan.step, previous)
    result = walk.recall(plan.step)
    reason = _reason(shop, declaration, manifest, result, walk.states)
    if not reason:
        standing = Standing.UP_TO_DATE
    elif result is not None and shop.store.has(result.tree):
        standing = Standing.RECALL
    else:
        standing = Standing.WORK
    return TargetState(declaration, plan.step, standing, reason, tuple(walk.states))


def _reason(
    shop: Workshop,
    declaration: Declaration,
    manifest: Manifest | None,
    result: ActionResult | None,
    states: list[ActionState],
) -> str:
    """Why the target is not up to date; empty if it is."""
    reason = ""
    if manifest is None:
        reason = "it was never built here"
    elif result is None or result.key != manifest.key:
        changes = [str(change) for state in states for change in state.changes]
        reason = "; ".join(dict.fromkeys(changes)) or "what it was built from is no longer known"
    elif not shop.artifacts.is_placed(declaration, manifest.tree):
        reason = "its files were deleted or changed"
    if reason and (result is None or not is_held(shop.artifacts, declaration, result.tree)):
        try:
            check_place(shop.artifacts, declaration)
        except PhiError as error:
            return error.message
    return reason


def worker_notes(store: Store, result: Tree) -> str:
    """What the worker of a result decided, for people; empty if it left no notes."""
    notes = next((entry for entry in result.entries if entry.path == NOTES), None)
    if notes is None or not store.has(Tree((notes,))):
        return ""
    return store.object_path(notes).read_text("utf-8").strip()


def missing_source(artifacts: Artifacts, declaration: Declaration) -> Path | None:
    """A folder or file that another target of this build makes and that does not exist yet."""
    model = declaration.model
    if model is not None and model.is_target and artifacts.manifest_of(model.folder) is None:
        return model.folder
    return next((path for path in declaration.inputs if not path.exists()), None)


class _Walk:
    """Visits the steps of a target, each once, inputs first."""

    def __init__(self, shop: Workshop, checkpoint: Checkpoint | None) -> None:
        self.states: list[ActionState] = []
        self._shop = shop
        self._checkpoint = checkpoint
        self._known: Results = {}
        self._visited: set[Step] = set()

    def recall(self, step: Step) -> ActionResult | None:
        """The recorded result of a step."""
        return recall(self._shop, step, self._checkpoint, self._known)

    def visit(self, step: Step, previous: ActionResult | None) -> None:
        """`previous` is the result that the artifact in place was built with."""
        if step in self._visited:
            return
        self._visited.add(step)
        before = dict(previous.inputs) if previous is not None else {}
        trees: dict[str, Tree] = {}
        for name, input in step.inputs:
            needed = step_of(input)
            if needed is not None:
                earlier = self._shop.store.recall(before[name]) if name in before else None
                self.visit(needed, earlier)
                result = self.recall(needed)
                if result is not None:
                    trees[name] = input_tree(input, result.tree)
        if isinstance(step, Action):  # an assembly does no work and has no changes of its own
            self.states.append(self._state(step, previous, trees))

    def _state(
        self, action: Action, previous: ActionResult | None, trees: dict[str, Tree]
    ) -> ActionState:
        store = self._shop.store
        result = self.recall(action)
        return ActionState(
            action,
            is_known=result is not None,
            cost=expected_cost(store, action, input_size(action, self._checkpoint, trees)),
            changes=self._changes(action, previous, trees) if previous is not None else (),
            notes=worker_notes(store, result.tree) if result is not None else "",
        )

    def _changes(
        self, action: Action, previous: ActionResult, trees: dict[str, Tree]
    ) -> tuple[Difference, ...]:
        """The facts that changed. An input whose own action must run counts as unchanged: that
        action has the reason, and its result may turn out the same."""
        digests = {name: digest_of_input(tree) for name, tree in trees.items()}
        values = {fact.name: fact.value for fact in previous.facts}
        of_steps = {name for name, input in action.inputs if step_of(input) is not None}
        for name in of_steps - digests.keys():
            if f"input.{name}" in values:
                digests[name] = Digest.parse(values[f"input.{name}"])
        digests |= file_digests(self._shop.sources, action)
        if any(name not in digests for name, _ in action.inputs):
            return ()
        current = facts(self._shop.toolchains, action, self._checkpoint, digests)
        return tuple(
            self._in_detail(action, change)
            for change in differences(previous.facts, current)
            # The action that makes an input names the change behind it.
            if change.name not in {f"input.{name}" for name in of_steps}
        )

    def _in_detail(self, action: Action, change: Difference) -> Difference:
        """A changed slice by its fields or tensors, and changed code by its files, if the items
        from before are still known."""
        if not change.before or not change.after:
            return change
        before = self._shop.store.index.items_of(change.before)
        if before is None:
            return change
        if change.name == "worker":
            return change.in_detail(before, self._shop.toolchains.code.read(action).items)
        for name in SLICES:
            if change.name == name and self._checkpoint is not None:
                return change.in_detail(before, slice_items(self._checkpoint, name))
        return change
