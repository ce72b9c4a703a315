"""An action: a repeatable unit of work as a value, and the facts that make its key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from phibuild.model.digest import Digest, canonical_json
from phibuild.model.facts import Fact, Facts

FACTS_FORMAT = "1"
"""Moves when the meaning of facts changes; every key changes with it."""

Slice = Literal["weights", "architecture", "tokenizer", "chat_template", "generation"]
SLICES: tuple[Slice, ...] = (
    "weights",
    "architecture",
    "tokenizer",
    "chat_template",
    "generation",
)


@dataclass(frozen=True, slots=True)
class FileInput:
    """A file or folder of the user's, known to the action by its bytes and not by its path."""

    path: str


@dataclass(frozen=True, slots=True)
class Action:
    """A worker, what it is told and what it is shown.

    `recipe` holds JSON values in canonical form, `slices` is what the worker sees of the model,
    as the input "model", `inputs` are results of other actions or the user's files by name,
    `toolchain` is the interpreter, `tools` native toolchains by name. `worker` is a script; its
    bytes, and those of `worker_files` beside it, are facts, and its path is not.
    """

    name: str
    worker: Path
    toolchain: str
    recipe: tuple[tuple[str, str], ...] = ()
    slices: tuple[Slice, ...] = ()
    inputs: tuple[tuple[str, Action | FileInput], ...] = ()
    tools: tuple[str, ...] = ()
    worker_files: tuple[Path, ...] = ()
    network: bool = False


def frozen_recipe(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Recipe fields as sorted (name, canonical JSON) pairs: hashable, with one spelling."""
    return tuple(sorted((name, canonical_json(value).decode()) for name, value in fields.items()))


def facts_of(
    action: Action,
    *,
    worker: Digest,
    slices: Mapping[Slice, Digest],
    inputs: Mapping[str, Digest],
    toolchains: Iterable[Fact],
) -> Facts:
    """Everything that may change what the action makes, and nothing else.

    `slices` are the model's (only those that the action declares are read), `inputs` the digests of
    its inputs, `toolchains` the identity facts of its interpreter and native tools.
    """
    return (
        Fact("facts", FACTS_FORMAT),
        Fact("action", action.name),
        Fact("worker", str(worker)),
        *(Fact(f"recipe.{name}", value) for name, value in action.recipe),
        *(Fact(name, str(slices[name])) for name in action.slices),
        *(Fact(f"input.{name}", str(inputs[name])) for name, _ in action.inputs),
        *toolchains,
    )
