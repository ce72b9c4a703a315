"""What a build graph compares: digests that change whenever keys may, before anything has run."""

from __future__ import annotations

from pathlib import Path

from phibuild.engine.reading.inputs import visible_name
from phibuild.engine.workers.toolchains import Toolchains
from phibuild.model.action import Action, FileInput, Input, Part, Step
from phibuild.model.digest import Digest, digest_of_value
from phibuild.source import Checkpoint


def signature(toolchains: Toolchains, step: Step, checkpoint: Checkpoint | None) -> Digest:
    """A digest that changes whenever the step's key may. Files' bytes are left out, the user's code
    among them, since the build graph watches them itself."""
    return _signature(toolchains, step, checkpoint, {})


def _signature(
    toolchains: Toolchains, step: Step, checkpoint: Checkpoint | None, known: dict[int, Digest]
) -> Digest:
    """`known` are the signatures of steps by identity: two others may need the same one."""
    digest = known.get(id(step))
    if digest is None:
        digest = known[id(step)] = digest_of_value(
            [
                [step.name, *map(list, step.recipe)],
                str(_of_worker(toolchains, step)) if isinstance(step, Action) else "",
                [[name, str(checkpoint.slices[name])] for name in step.slices]
                if checkpoint
                else [],
                str(toolchains.digest(step)),
                [
                    [name, *_of_input(toolchains, input, checkpoint, known)]
                    for name, input in step.inputs
                ],
            ]
        )
    return digest


def _of_worker(toolchains: Toolchains, action: Action) -> Digest:
    code = toolchains.code
    return code.read(action).digest if action.code_root is None else code.offered


def _of_input(
    toolchains: Toolchains, input: Input, checkpoint: Checkpoint | None, known: dict[int, Digest]
) -> list[str]:
    if isinstance(input, FileInput):
        return visible_name(Path(input.path))
    if isinstance(input, Part):
        return [str(_signature(toolchains, input.of, checkpoint, known)), input.path]
    return [str(_signature(toolchains, input, checkpoint, known))]
