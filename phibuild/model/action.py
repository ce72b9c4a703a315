"""Actions: repeatable units of work as values, and the facts that make their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from phibuild.model.digest import Digest, canonical_json
from phibuild.model.errors import ActionError
from phibuild.model.facts import Fact, Facts
from phibuild.model.tree import THE_FILE, Tree

FACTS_FORMAT = "1"
"""Moves when the meaning of facts changes; every key changes with it."""

HOST = "host"
"""The interpreter that runs phibuild, with the standard library and no package."""

OWN = "phibuild"
"""The same interpreter with the packages that are installed there, phibuild among them."""

NOTES = "notes.txt"
"""The file in a result by which a worker tells people what it decided: the first paragraph in a
plan, all of it where an artifact is shown or explained."""

Slice = Literal["weights", "architecture", "tokenizer", "chat_template", "generation"]
SLICES: tuple[Slice, ...] = (
    "weights",
    "architecture",
    "tokenizer",
    "chat_template",
    "generation",
)


class FileInput(NamedTuple):
    """A file or folder of the user's, known to the action by its bytes and not by its path."""

    path: str


class Program(NamedTuple):
    """A program that the machine has to have, such as a cross compiler, by its name on the PATH.

    What it prints when started with `ask` is a fact, as far as the lines go in which the regular
    expression `tells` is found; one that is not asked cannot change what is made. `hint` says how
    to install it, and `with_python` that it comes with Python packages: the one beside the
    interpreter is used, if there is one.
    """

    name: str
    ask: tuple[str, ...]
    pattern: str
    hint: str
    with_python: bool = False


class Action(NamedTuple):
    """A worker, what it is told and what it is shown.

    `recipe` holds JSON values in canonical form, `slices` is what the worker sees of the model,
    as the input "model", `inputs` are results of other actions, parts of such results, or the
    user's files by name, `toolchain` is the interpreter (HOST and OWN, or one that a plugin
    offers), `tools` native toolchains by name, and `programs` are the machine's own; the worker
    finds both in `job.tools`.
    `worker` is a script. It is shown the modules of its own package that it imports, and
    `worker_files`: files and folders that it reads beside it, or imports by a computed name. Their
    bytes are facts, and so are their paths from `code_root` on (by default, the folder that holds
    the worker's package). The worker of a `batched` action can be given several at once that differ
    in recipe and inputs only; what it makes of each may not depend on the others.
    """

    name: str
    worker: Path
    toolchain: str
    recipe: tuple[tuple[str, str], ...] = ()
    slices: tuple[Slice, ...] = ()
    inputs: tuple[tuple[str, Input], ...] = ()
    tools: tuple[str, ...] = ()
    worker_files: tuple[Path, ...] = ()
    code_root: Path | None = None
    network: bool = False
    batched: bool = False
    programs: tuple[Program, ...] = ()

    def goes_with(self, other: Step) -> bool:
        """Whether one run of the worker can do both, for the same model."""
        return (
            isinstance(other, Action)
            and self.batched
            and other.batched
            and (self.worker, self.worker_files, self.toolchain, self.tools, self.slices)
            == (other.worker, other.worker_files, other.toolchain, other.tools, other.slices)
            and self.programs == other.programs
        )


@dataclass(frozen=True, slots=True)
class Assembly:
    """A folder that holds the files of its inputs side by side: no worker runs and no byte is
    copied. Each input is a folder, or a file whose name in the assembly is that of the input."""

    name: str
    inputs: tuple[tuple[str, Input], ...]
    toolchain: ClassVar[str] = HOST
    recipe: ClassVar[tuple[tuple[str, str], ...]] = ()
    slices: ClassVar[tuple[Slice, ...]] = ()
    tools: ClassVar[tuple[str, ...]] = ()
    programs: ClassVar[tuple[Program, ...]] = ()


class Part(NamedTuple):
    """One file or folder of an action's result, by its path inside. Who reads a part does not run
    again when the rest of that result changes."""

    of: Step
    path: str


Step = Action | Assembly
Input = Action | Assembly | Part | FileInput


def step_of(one: Input) -> Step | None:
    """What has to be done for this input; None for a file of the user's."""
    if isinstance(one, FileInput):
        return None
    return one.of if isinstance(one, Part) else one


def input_tree(one: Input, result: Tree) -> Tree:
    """What the input is of the result of its step; ActionError PHI403 if the result lacks it."""
    if not isinstance(one, Part):
        return result
    try:
        return result.part(one.path)
    except KeyError:
        raise ActionError(
            f"{one.of.name} did not make {one.path}, which is taken of it",
            hint="its worker and its plan do not agree: tell the plugin's makers",
            code="PHI403",
        ) from None


def steps_of(step: Step) -> Iterator[Step]:
    """The step and all that it needs, inputs first; one that two others need comes twice."""
    for _, one in step.inputs:
        needed = step_of(one)
        if needed is not None:
            yield from steps_of(needed)
    yield step


def files_of(step: Step) -> Iterator[FileInput]:
    """The user's files that the step and all that it needs are made from."""
    for needed in steps_of(step):
        yield from (one for _, one in needed.inputs if isinstance(one, FileInput))


def assembled(inputs: Iterable[tuple[str, Tree]]) -> Tree:
    """The tree of an assembly; ValueError if two of its inputs have a file of one path."""
    entries = [
        entry._replace(path=name) if entry.path == THE_FILE else entry
        for name, tree in inputs
        for entry in tree.entries
    ]
    return Tree(tuple(sorted(entries)))


def frozen_recipe(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Recipe fields as sorted (name, canonical JSON) pairs: hashable, with one spelling."""
    return tuple(sorted((name, canonical_json(value).decode()) for name, value in fields.items()))


def facts_of(
    action: Step,
    *,
    worker: Digest | None,
    slices: Mapping[Slice, Digest],
    inputs: Mapping[str, Digest],
    toolchains: Iterable[Fact],
) -> Facts:
    """Everything that may change what the step makes, and nothing else; `worker` is None for an
    assembly.

    `slices` are the model's (only those that the action declares are read), `inputs` the digests of
    its inputs, `toolchains` the identity facts of its interpreter, native tools and programs.
    """
    return (
        Fact("facts", FACTS_FORMAT),
        Fact("action", action.name),
        *(() if worker is None else (Fact("worker", str(worker)),)),
        *(Fact(f"recipe.{name}", value) for name, value in action.recipe),
        *(Fact(name, str(slices[name])) for name in action.slices),
        *(Fact(f"input.{name}", str(inputs[name])) for name, _ in action.inputs),
        *toolchains,
    )
