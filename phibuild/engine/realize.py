"""Making a target true: recalled from the store if its key is known, else worked for."""

from __future__ import annotations

import dataclasses
import enum
import time
from pathlib import Path

from phibuild.engine.declaration import Declaration, Generation, model_facts
from phibuild.engine.keys import facts, file_digests, known_result
from phibuild.engine.work import assemble, disk_full_as_error, work
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Assembly, Step, step_of, taken_of
from phibuild.model.errors import CheckError
from phibuild.model.facts import action_key
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.model.tree import Tree
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


def realize_target(shop: Workshop, declaration: Declaration) -> Made:
    """Make the artifact of a declaration and put it in its place, its manifest last.

    Any PhiError leaves the previous artifact and its manifest as they were.
    """
    start = time.monotonic()
    ran: list[str] = []
    checkpoint = shop.checkpoint(declaration.model.folder) if declaration.model else None
    action = declaration.action(model_facts(checkpoint))
    with disk_full_as_error(declaration.target):
        result = _realize(shop, action, checkpoint, declaration.name, ran)
        answer = _checked_answer(shop, declaration.what, result)
        manifest = Manifest(
            artifact=declaration.target.name,
            format=declaration.format,
            key=result.key,
            parameters=checkpoint.parameters if checkpoint else 0,
            tree=result.tree,
        )
        if not shop.is_in_place(result.tree, declaration.target):
            shop.store.materialise(result.tree, declaration.target)
        write_manifest(manifest, Path(f"{declaration.target}{SUFFIX}"))
    return Made(
        declaration=declaration,
        manifest=manifest,
        outcome=Outcome.BUILT if ran else Outcome.RECALLED,
        ran=tuple(ran),
        seconds=time.monotonic() - start,
        answer=answer,
    )


def installed_tool(shop: Workshop, name: str) -> Path:
    """The folder that a native toolchain is installed in, or would be."""
    build = shop.native_build(name)
    key = action_key(facts(shop, build, None, file_digests(shop, build)))
    return shop.store.root / "toolchains" / f"{name}-{key.hex[:12]}"


def realize_tool(shop: Workshop, name: str) -> Path:
    """Build a native toolchain, or recall it, and return the folder that it is installed in."""
    result = _realize(shop, shop.native_build(name), None, f"toolchain {name}", [])
    prefix = installed_tool(shop, name)
    with shop.store.locked(f"toolchain-{prefix.name}"):
        if not shop.is_in_place(result.tree, prefix):
            shop.store.materialise(result.tree, prefix)
    return prefix


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write beside and rename over; a manifest that is right already keeps its time."""
    text = manifest.to_text()
    if not path.is_file() or path.read_text("utf-8", errors="replace") != text:
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(text, "utf-8")
        beside.replace(path)


def _realize(
    shop: Workshop, action: Step, checkpoint: Checkpoint | None, name: str, ran: list[str]
) -> ActionResult:
    known = known_result(shop, action, checkpoint)
    if known is not None and known[1] is not None and shop.store.has(known[1].tree):
        return known[1]
    results: dict[str, ActionResult] = {}
    trees: dict[str, Tree] = {}
    for input_name, one in action.inputs:
        step = step_of(one)
        if step is not None:
            results[input_name] = _realize(shop, step, checkpoint, name, ran)
            trees[input_name] = taken_of(one, results[input_name].tree)
    tools = {tool: realize_tool(shop, tool) for tool in action.tools}
    digests = file_digests(shop, action)
    digests |= {input_name: tree.digest for input_name, tree in trees.items()}
    found = facts(shop, action, checkpoint, digests)
    key = action_key(found)
    if isinstance(action, Assembly):
        return assemble(shop, action, found=found, results=results, trees=trees)
    with shop.store.locked(key.hex):
        # Another build may have made it while we waited for the lock.
        result = shop.store.recall(key)
        if result is None or not shop.store.has(result.tree):
            result = work(
                shop,
                action,
                checkpoint,
                found=found,
                results=results,
                trees=trees,
                tools=tools,
                reported_as=f"{name} ({action.name})",
            )
            ran.append(action.name)
    return result


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
