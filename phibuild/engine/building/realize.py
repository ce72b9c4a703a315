"""Bringing a target up to date: its result is recalled from the store, or a worker runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from phibuild.engine.building.batch import companions, usable_result
from phibuild.engine.building.diagnosis import BytecodeDamaged
from phibuild.engine.building.record import record_assembly
from phibuild.engine.building.run import run_batch
from phibuild.engine.building.tools import installed_tool
from phibuild.engine.declaration import Declaration, Generation
from phibuild.engine.disk import disk_full_as_error
from phibuild.engine.keys import KeyedStep, Results, keyed, recall
from phibuild.engine.placing.place import check_place, is_held, place
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action, Assembly, Step, step_of
from phibuild.model.errors import CheckError, PhiError
from phibuild.model.manifest import Manifest
from phibuild.source import Checkpoint
from phibuild.store import ActionResult, Store

_NOBODYS_FAULT = ("PHI106", "PHI404", "PHI406")
"""A source that changed, a full disk, an interruption."""


@dataclass(frozen=True, slots=True)
class TargetResult:
    """A target that is up to date. `ran` names the actions that worked for it, in order."""

    declaration: Declaration
    manifest: Manifest
    ran: tuple[str, ...]
    seconds: float
    answer: str = ""

    @property
    def verb(self) -> str:
        """What happened to the target, for people."""
        return "built" if self.ran else "recalled"


def realize_target(shop: Workshop, declaration: Declaration) -> TargetResult:
    """Build the artifact of a declaration and put it in its place, its manifest last.

    Any PhiError leaves the previous artifact and its manifest unchanged.
    """
    start = time.monotonic()
    plan = shop.plans.of(declaration)
    build = _Build(shop, plan.checkpoint, declaration.name)
    with disk_full_as_error(declaration.target):
        _check_place(shop, declaration, build.recall(plan.step))
        result = build.realize(plan.step)
        answer = _checked_answer(shop.store, declaration, result)
        manifest = Manifest(
            artifact=declaration.target.name,
            format=declaration.format,
            key=result.key,
            parameters=plan.checkpoint.parameters if plan.checkpoint else 0,
            tree=result.tree,
        )
        place(shop.artifacts, declaration, manifest, shop.reporter)
    return TargetResult(
        declaration=declaration,
        manifest=manifest,
        ran=tuple(build.ran),
        seconds=time.monotonic() - start + build.seconds_elsewhere,
        answer=answer,
    )


def _check_place(shop: Workshop, declaration: Declaration, known: ActionResult | None) -> None:
    """Before any work: what is at the target may be replaced, or is the known result already."""
    try:
        check_place(shop.artifacts, declaration)
    except PhiError:
        if known is None or not is_held(shop.artifacts, declaration, known.tree):
            raise


def realize_step(
    shop: Workshop, step: Step, checkpoint: Checkpoint | None, name: str
) -> ActionResult:
    """The result of a step, recalled or built; the work is reported under this name."""
    return _Build(shop, checkpoint, name).realize(step)


def realize_tool(shop: Workshop, name: str) -> Path:
    """Build a native toolchain, or recall it, and return the folder that it is installed in."""
    build = shop.toolchains.native_build(name)
    result = realize_step(shop, build, None, f"toolchain {name}")
    prefix = installed_tool(shop, name)
    shop.store.lease.hold([prefix.name])
    with shop.store.locked(f"toolchain-{prefix.name}"):
        if not shop.artifacts.is_in_place(result.tree, prefix):
            shop.store.install(result.tree, prefix)
    return prefix


@dataclass
class _Build:
    """The way of one target through its steps. `ran` names the actions that worked for it, in
    order; `seconds_elsewhere` is what other targets spent on it, less what it spent on them."""

    shop: Workshop
    checkpoint: Checkpoint | None
    name: str
    ran: list[str] = field(default_factory=list)
    seconds_elsewhere: float = 0.0
    _known: Results = field(default_factory=dict)

    def recall(self, step: Step) -> ActionResult | None:
        """The recorded result of a step."""
        return recall(self.shop, step, self.checkpoint, self._known)

    def realize(self, step: Step) -> ActionResult:
        """The result of a step, with all its files in the store."""
        result = self.recall(step)
        if result is not None and self.shop.store.has(result.tree):
            return self._used(result)
        inputs = [(name, step_of(input)) for name, input in step.inputs]
        results = {name: self.realize(needed) for name, needed in inputs if needed is not None}
        if isinstance(step, Assembly):
            assembly = keyed(self.shop, step, self.checkpoint, results)
            result = record_assembly(self.shop.store, assembly)
        else:
            result = self._run(step, results)
        self._known[id(step)] = result
        return result

    def _used(self, result: ActionResult) -> ActionResult:
        """A known result. If this build built it along with another target's, it counts as the
        work of this target."""
        seconds = self.shop.plans.built_ahead.pop(result.key, None)
        if seconds is not None:
            self.ran.append(result.action)
            self.seconds_elsewhere += seconds
        return result

    def _run(self, action: Action, inputs: Mapping[str, ActionResult]) -> ActionResult:
        shop = self.shop
        tools = {tool: realize_tool(shop, tool) for tool in action.tools}
        tools |= {
            program.name: shop.toolchains.program(program).path for program in action.programs
        }
        first = keyed(shop, action, self.checkpoint, inputs)
        batch = [first, *companions(shop, first, self.checkpoint)]
        with contextlib.ExitStack() as locks:
            for key in sorted(step.key.hex for step in batch):
                locks.enter_context(shop.store.locked(key))
            # Another build may have recorded a result while this one waited for the locks.
            result = usable_result(shop, first)
            if result is not None:
                return self._used(result)
            batch = [first, *(step for step in batch[1:] if usable_result(shop, step) is None)]
            try:
                results = self._run_batch(batch, tools)
            except PhiError as error:
                if len(batch) == 1 or error.code in _NOBODYS_FAULT:
                    raise
                shop.plans.pending.clear()  # each target by itself: the one at fault reports it
                results = self._run_batch([first], tools)
        self.ran.append(action.name)
        for result in results[1:]:
            if result.key in shop.plans.built_ahead:  # else its target has used it already
                shop.plans.built_ahead[result.key] = result.seconds
                self.seconds_elsewhere -= result.seconds
        return results[0]

    def _run_batch(
        self, batch: Sequence[KeyedStep[Action]], tools: Mapping[str, Path]
    ) -> list[ActionResult]:
        action = batch[0].step.name
        many = f", {len(batch)} targets" if len(batch) > 1 else ""
        reported_as = f"{self.name} ({action}{many})"
        run = partial(
            run_batch, self.shop, batch, self.checkpoint, tools=tools, reported_as=reported_as
        )
        built_ahead = self.shop.plans.built_ahead
        built_ahead |= dict.fromkeys((step.key for step in batch[1:]), 0.0)
        try:
            with contextlib.suppress(BytecodeDamaged):
                return run()
            return run()  # without the damaged bytecode
        except BaseException:
            for step in batch[1:]:
                built_ahead.pop(step.key, None)
            raise


def _checked_answer(store: Store, declaration: Declaration, result: ActionResult) -> str:
    generation = declaration.origin
    if not isinstance(generation, Generation):
        return ""
    text = store.object_path(result.tree.entries[0]).read_text("utf-8", errors="replace")
    if generation.expect.casefold() not in text.casefold():
        raise CheckError(
            f"{generation.artifact.name} answered {text.strip()[:200]!r} to"
            f" {generation.prompt!r}, which does not contain {generation.expect!r}",
            hint="the quantization may be too coarse for this model: try a higher precision",
        )
    return text.strip()
