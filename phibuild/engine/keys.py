"""From an action to its facts, its key, and the signature that a build graph compares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from phibuild.engine.reading.inputs import UserInput, digest_of_input, read_input, seen_beside_bytes
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action, FileInput, Input, Part, Step, facts_of, step_of, taken_of
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.facts import Fact, Facts, action_key
from phibuild.source import Checkpoint
from phibuild.store import ActionResult


def facts(
    shop: Workshop, action: Step, checkpoint: Checkpoint | None, inputs: Mapping[str, Digest]
) -> Facts:
    """The facts of a step whose inputs have these digests."""
    return facts_of(
        action,
        worker=shop.code.read(action).digest if isinstance(action, Action) else None,
        slices={} if checkpoint is None else checkpoint.slices,
        inputs=inputs,
        toolchains=toolchain_facts(shop, action),
    )


def toolchain_facts(shop: Workshop, action: Step) -> Facts:
    """The identity of all that does the work: the interpreter, and the facts of the actions that
    build its native tools, so that an explanation can name the flag that changed; and what the
    machine's programs tell of themselves."""
    return (
        *shop.interpreter_facts(action.toolchain),
        *(fact for tool in action.tools for fact in _tool_facts(shop, tool)),
        *(
            Fact(f"program.{one.name}", shop.program(one).identity)
            for one in action.programs
            if one.ask
        ),
    )


def _tool_facts(shop: Workshop, tool: str) -> Facts:
    def found() -> Facts:
        build = shop.native_build(tool)
        return tuple(
            Fact(f"toolchain.{tool}.{fact.name}", fact.value)
            for fact in facts(shop, build, None, file_digests(shop, build))
        )

    return shop.once(f"tool {tool}", found)


def identity(shop: Workshop, action: Action) -> Digest:
    """What does the work: the digest of the worker and of its toolchains."""
    return digest_of_value([str(shop.code.read(action).digest), _toolchains(shop, action)])


def _toolchains(shop: Workshop, action: Step) -> str:
    """The digest of the toolchain facts, taken once for each set of toolchains."""
    programs = (one.name for one in action.programs if one.ask)
    name = " ".join(("toolchains", action.toolchain, *action.tools, *programs))

    def found() -> Facts:
        pairs = [[fact.name, fact.value] for fact in toolchain_facts(shop, action)]
        return (Fact(name, str(digest_of_value(pairs))),)

    return shop.once(name, found)[0].value


def user_inputs(shop: Workshop, action: Step) -> dict[str, UserInput]:
    """Those inputs that are the user's files, as they are now."""
    return {
        name: read_input(shop, Path(one.path))
        for name, one in action.inputs
        if isinstance(one, FileInput)
    }


def file_digests(shop: Workshop, action: Step) -> dict[str, Digest]:
    """The digests of those inputs that are the user's files."""
    return {name: one.digest for name, one in user_inputs(shop, action).items()}


def known_result(
    shop: Workshop, action: Step, checkpoint: Checkpoint | None
) -> tuple[Facts, ActionResult | None] | None:
    """The facts of a step and the result recorded under their key; None where an input's own
    result is not known, so that the key is not either. Nothing runs; files may be gone."""
    digests = file_digests(shop, action)
    for name, one in action.inputs:
        step = step_of(one)
        if step is not None:
            known = known_result(shop, step, checkpoint)
            if known is None or known[1] is None:
                return None
            digests[name] = digest_of_input(taken_of(one, known[1].tree))
    found = facts(shop, action, checkpoint, digests)
    return found, shop.store.recall(action_key(found))


def signature(shop: Workshop, action: Step, checkpoint: Checkpoint | None) -> Digest:
    """A digest that changes whenever the action's key may: known before anything has run. Files'
    bytes are left out, the user's code among them, since the build graph watches them itself."""
    return _signature(shop, action, checkpoint, {})


def _signature(
    shop: Workshop, action: Step, checkpoint: Checkpoint | None, taken: dict[int, Digest]
) -> Digest:
    """`taken` are the signatures of steps by identity: two others may need the same one."""
    known = taken.get(id(action))
    if known is not None:
        return known
    taken[id(action)] = found = digest_of_value(
        [
            [action.name, *map(list, action.recipe)],
            str(_worker_signature(shop, action)) if isinstance(action, Action) else "",
            [[name, str(checkpoint.slices[name])] for name in action.slices] if checkpoint else [],
            _toolchains(shop, action),
            [[name, *_of_input(shop, one, checkpoint, taken)] for name, one in action.inputs],
        ]
    )
    return found


def _worker_signature(shop: Workshop, action: Action) -> Digest:
    return shop.code.read(action).digest if action.code_root is None else shop.code.offered


def _of_input(
    shop: Workshop, one: Input, checkpoint: Checkpoint | None, taken: dict[int, Digest]
) -> list[str]:
    if isinstance(one, FileInput):
        return seen_beside_bytes(Path(one.path))
    if isinstance(one, Part):
        return [str(_signature(shop, one.of, checkpoint, taken)), one.path]
    return [str(_signature(shop, one, checkpoint, taken))]
