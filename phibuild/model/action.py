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
"""The interpreter that runs phibuild, with the standard library alone."""

OWN = "phibuild"
"""The same interpreter with the packages installed there, phibuild among them."""

NOTES = "notes.txt"
"""The file in a result with a worker's notes for people: `plan` shows the first paragraph, `show`
and `explain` all of it."""

Slice = Literal["weights", "architecture", "tokenizer", "chat_template", "generation"]
SLICES: tuple[Slice, ...] = (
    "weights",
    "architecture",
    "tokenizer",
    "chat_template",
    "generation",
)


class FileInput(NamedTuple):
    """A file or folder of the user's. Its bytes are a fact of the action; its path is not."""

    path: str


class Program(NamedTuple):
    """A program of the machine, such as a cross compiler, by its name on PATH.

    The arguments `ask` make it print its version; the lines that match the regular expression
    `pattern` are a fact. A program without `ask` must not change the result. `hint` says how to
    install it. With `with_python`, the program beside the interpreter is preferred, as Python
    packages install it.
    """

    name: str
    ask: tuple[str, ...]
    pattern: str
    hint: str
    with_python: bool = False


class Action(NamedTuple):
    """A worker, its recipe and its inputs.

    `recipe` holds JSON values in canonical form. `slices` are the parts of the model that the
    worker sees as the input "model". `inputs` are, by name, results of other actions, parts of such
    results, or the user's files. `toolchain` is the interpreter: HOST, OWN, or one that a plugin
    offers. `tools` are native toolchains by name, `programs` are the machine's own; the worker
    finds both in `job.tools`.
    `worker` is a script. It is shown the modules of its own package that it imports, and
    `worker_files`: files and folders that it reads, or imports by a computed name. Their bytes are
    facts, and so are their paths from `code_root` on (by default the folder that holds the worker's
    package). The worker of a `batched` action may get several at once that differ only in recipe
    and inputs; the result of each must not depend on the others.
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
    """A folder with the files of its inputs side by side: no worker runs and no byte is copied. An
    input is a folder, or a file that gets the input's name."""

    name: str
    inputs: tuple[tuple[str, Input], ...]
    toolchain: ClassVar[str] = HOST
    recipe: ClassVar[tuple[tuple[str, str], ...]] = ()
    slices: ClassVar[tuple[Slice, ...]] = ()
    tools: ClassVar[tuple[str, ...]] = ()
    programs: ClassVar[tuple[Program, ...]] = ()


class Part(NamedTuple):
    """One file or folder of a step's result, by its path inside. An action that reads a part does
    not run again when the rest of the result changes."""

    of: Step
    path: str


Step = Action | Assembly
Input = Action | Assembly | Part | FileInput


def step_of(source: Input) -> Step | None:
    """The step whose result this input is, or is a part of; None for a file of the user's."""
    if isinstance(source, FileInput):
        return None
    return source.of if isinstance(source, Part) else source


def input_tree(source: Input, result: Tree) -> Tree:
    """The input's own tree in the result of its step; ActionError PHI403 if the result lacks it."""
    if not isinstance(source, Part):
        return result
    try:
        return result.part(source.path)
    except KeyError:
        raise ActionError(
            f"the result of {source.of.name} has no {source.path}, which another action reads",
            hint="its worker and its plan do not agree: report it to the plugin's authors",
            code="PHI403",
        ) from None


def steps_of(step: Step) -> Iterator[Step]:
    """The step and all that it needs, inputs first; a step that two others need comes twice."""
    for _, source in step.inputs:
        needed = step_of(source)
        if needed is not None:
            yield from steps_of(needed)
    yield step


def files_of(step: Step) -> Iterator[FileInput]:
    """The user's files that the step and all that it needs read."""
    for needed in steps_of(step):
        yield from (source for _, source in needed.inputs if isinstance(source, FileInput))


def assembled(inputs: Iterable[tuple[str, Tree]]) -> Tree:
    """The tree of an assembly; ValueError if two of its inputs have a file of one path."""
    entries = [
        entry._replace(path=name) if entry.path == THE_FILE else entry
        for name, tree in inputs
        for entry in tree.entries
    ]
    return Tree(tuple(sorted(entries)))


def frozen_recipe(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Recipe fields as sorted pairs of name and canonical JSON: hashable, in one spelling."""
    return tuple(sorted((name, canonical_json(value).decode()) for name, value in fields.items()))


def facts_of(
    action: Step,
    *,
    worker: Digest | None,
    slices: Mapping[Slice, Digest],
    inputs: Mapping[str, Digest],
    toolchains: Iterable[Fact],
) -> Facts:
    """All that may change the result of the step, and nothing else. An assembly has no `worker`.

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
