"""Making a target true: recalled from the store if its key is known, else worked for."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from phibuild.engine.building.batch import going_along, task_of
from phibuild.engine.building.run import BytecodeDamaged, Task, assemble, disk_full_as_error, work
from phibuild.engine.declaration import Declaration, Generation, model_facts
from phibuild.engine.keys import facts, file_digests, known_result
from phibuild.engine.placing.place import check_place, is_held, place
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action, Assembly, Step, step_of
from phibuild.model.errors import CheckError, PhiError
from phibuild.model.facts import action_key
from phibuild.model.manifest import Manifest
from phibuild.source import Checkpoint
from phibuild.store import ActionResult


class Outcome(enum.Enum):
    """What it took to make a target true."""

    BUILT = "built"
    RECALLED = "recalled"


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """A target that is true now. `ran` names the actions that worked for it, in order."""

    declaration: Declaration
    manifest: Manifest
    outcome: Outcome
    ran: tuple[str, ...]
    seconds: float
    answer: str = ""


@dataclasses.dataclass
class _Run:
    """What worked for a target, in order. `seconds_elsewhere` is what other targets spent on it,
    less what it spent on them."""

    actions: list[str] = dataclasses.field(default_factory=list)
    seconds_elsewhere: float = 0.0


def realize_target(shop: Workshop, declaration: Declaration) -> Made:
    """Make the artifact of a declaration and put it in its place, its manifest last.

    Any PhiError leaves the previous artifact and its manifest as they were.
    """
    start = time.monotonic()
    run = _Run()
    checkpoint = shop.checkpoint(declaration.model.folder) if declaration.model else None
    action = declaration.action(model_facts(checkpoint))
    with disk_full_as_error(declaration.target):
        _check_place(shop, declaration, action, checkpoint)
        result = _realize(shop, action, checkpoint, declaration.name, run)
        answer = _checked_answer(shop, declaration.what, result)
        manifest = Manifest(
            artifact=declaration.target.name,
            format=declaration.format,
            key=result.key,
            parameters=checkpoint.parameters if checkpoint else 0,
            tree=result.tree,
        )
        place(shop, declaration, manifest)
    return Made(
        declaration=declaration,
        manifest=manifest,
        outcome=Outcome.BUILT if run.actions else Outcome.RECALLED,
        ran=tuple(run.actions),
        seconds=time.monotonic() - start + run.seconds_elsewhere,
        answer=answer,
    )


def _check_place(
    shop: Workshop, declaration: Declaration, step: Step, checkpoint: Checkpoint | None
) -> None:
    """Before any work: what is at the target may be replaced, or is the known result already."""
    try:
        check_place(shop, declaration)
    except PhiError:
        known = known_result(shop, step, checkpoint)
        if known is None or known[1] is None or not is_held(shop, declaration, known[1].tree):
            raise


def realize_step(
    shop: Workshop, step: Step, checkpoint: Checkpoint | None, name: str
) -> ActionResult:
    """The result of a step, recalled or worked for under this name."""
    return _realize(shop, step, checkpoint, name, _Run())


def installed_tool(shop: Workshop, name: str) -> Path:
    """The folder that a native toolchain is installed in, or would be."""
    build = shop.native_build(name)
    key = action_key(facts(shop, build, None, file_digests(shop, build)))
    return shop.store.root / "toolchains" / f"{name}-{key.hex[:12]}"


def realize_tool(shop: Workshop, name: str) -> Path:
    """Build a native toolchain, or recall it, and return the folder that it is installed in."""
    result = realize_step(shop, shop.native_build(name), None, f"toolchain {name}")
    prefix = installed_tool(shop, name)
    shop.store.lease.hold([prefix.name])
    with shop.store.locked(f"toolchain-{prefix.name}"):
        if not shop.is_in_place(result.tree, prefix):
            shop.store.install(result.tree, prefix)
    return prefix


def _realize(
    shop: Workshop, step: Step, checkpoint: Checkpoint | None, name: str, run: _Run
) -> ActionResult:
    known = known_result(shop, step, checkpoint)
    if known is not None and known[1] is not None and shop.store.has(known[1].tree):
        return _taken(shop, known[1], run)
    results = {
        input_name: _realize(shop, needed, checkpoint, name, run)
        for input_name, one in step.inputs
        if (needed := step_of(one)) is not None
    }
    if isinstance(step, Assembly):
        return assemble(shop, task_of(shop, step, checkpoint, results))
    tools = {tool: realize_tool(shop, tool) for tool in step.tools}
    tools |= {one.name: shop.program(one).path for one in step.programs}
    task = task_of(shop, step, checkpoint, results)
    tasks = [task, *going_along(shop, task, checkpoint)]
    with contextlib.ExitStack() as locks:
        for key in sorted(one.key.hex for one in tasks):
            locks.enter_context(shop.store.locked(key))
        # Another build may have made it while we waited for the locks.
        tasks = [one for one in tasks if _recalled(shop, one) is None]
        result = _recalled(shop, task)
        if result is not None:
            return _taken(shop, result, run)
        try:
            made = _work(shop, tasks, checkpoint, tools, name)
        except PhiError as error:
            # A source that changes, a full disk, an interruption: no target is at fault.
            if len(tasks) == 1 or error.code in ("PHI106", "PHI404", "PHI406"):
                raise
            shop.wanted.clear()  # each target by itself, so that the one at fault tells
            tasks = [task]
            made = _work(shop, tasks, checkpoint, tools, name)
        run.actions.append(step.name)
        for other in made[1:]:
            if other.key in shop.made_ahead:  # else its target was quick to take it
                shop.made_ahead[other.key] = other.seconds
                run.seconds_elsewhere -= other.seconds
    return made[0]


def _recalled(shop: Workshop, task: Task[Action]) -> ActionResult | None:
    result = shop.store.recall(task.key)
    return result if result is not None and shop.store.has(result.tree) else None


def _taken(shop: Workshop, result: ActionResult, run: _Run) -> ActionResult:
    """A known result; one that this build made along with another target's is its own work."""
    seconds = shop.made_ahead.pop(result.key, None)
    if seconds is not None:
        run.actions.append(result.action)
        run.seconds_elsewhere += seconds
    return result


def _work(
    shop: Workshop,
    tasks: Sequence[Task[Action]],
    checkpoint: Checkpoint | None,
    tools: Mapping[str, Path],
    name: str,
) -> list[ActionResult]:
    action = tasks[0].step.name
    what = action if len(tasks) == 1 else f"{action}, {len(tasks)} targets"
    others = dict.fromkeys((task.key for task in tasks[1:]), 0.0)
    shop.made_ahead |= others
    reported_as = f"{name} ({what})"
    try:
        with contextlib.suppress(BytecodeDamaged):
            return work(shop, tasks, checkpoint, tools=tools, reported_as=reported_as)
        return work(shop, tasks, checkpoint, tools=tools, reported_as=reported_as)
    except BaseException:
        for key in others:
            shop.made_ahead.pop(key, None)
        raise


def _checked_answer(shop: Workshop, what: object, result: ActionResult) -> str:
    if not isinstance(what, Generation):
        return ""
    text = shop.store.object_path(result.tree.entries[0]).read_text("utf-8", errors="replace")
    if what.expect.casefold() not in text.casefold():
        raise CheckError(
            f"{what.artifact.name}, asked {what.prompt!r}, answered {text.strip()[:200]!r},"
            f" which does not contain {what.expect!r}",
            hint="the quantization may be too coarse for this model: try a higher precision",
        )
    return text.strip()
