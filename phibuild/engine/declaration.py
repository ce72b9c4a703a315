"""A declaration: one artifact that an SConstruct asks for, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.model.action import (
    HOST,
    OWN,
    Action,
    Assembly,
    FileInput,
    Input,
    Part,
    Step,
    files_of,
)
from phibuild.offers import (
    ArtifactFacts,
    Backend,
    Evaluator,
    ModelFacts,
    Packager,
    Runtime,
    Tensor,
)
from phibuild.source import Checkpoint

NO_MODEL = ModelFacts({}, ())
CURRENT = "current/"
"""Prefix of a toolchain's name that means: its packages in the running interpreter."""


class ModelRef(NamedTuple):
    """A checkpoint by its folder. `made_here` if a target of the same build makes the folder, so
    that it can only be read when that target is done."""

    folder: Path
    made_here: bool = False


class Conversion(NamedTuple):
    """The artifact that a backend makes of a model by a recipe."""

    backend: Backend
    recipe: Any
    extras: Mapping[str, FileInput]

    def action(self, model: ModelFacts) -> Step:
        """Check, then plan; RecipeError PHI2xx for what cannot be built or run."""
        self.backend.check(self.recipe, model, self.extras)
        return self.backend.plan(self.recipe, model, self.extras)


class Packaging(NamedTuple):
    """What a packager makes of an artifact. `about` is what is known of it beside its model."""

    packager: Packager
    recipe: Any
    artifact: Path
    about: ArtifactFacts
    extras: Mapping[str, FileInput]

    def action(self, model: ModelFacts) -> Step:
        """Check, then plan; RecipeError PHI2xx for what cannot be packed."""
        about = self.about._replace(model=model)
        self.packager.check(self.recipe, about, self.extras)
        return self.packager.plan(self.recipe, FileInput(str(self.artifact)), about, self.extras)


class Generation(NamedTuple):
    """The answer of an artifact to a prompt; it must contain `expect`, in any case of letters."""

    evaluator: Evaluator
    artifact: Path
    prompt: str
    max_tokens: int
    expect: str

    def action(self, model: ModelFacts) -> Step:
        """The evaluator's action over the artifact."""
        return self.evaluator.generate(FileInput(str(self.artifact)), self.prompt, self.max_tokens)


class Programs(NamedTuple):
    """The programs that run artifacts on a device."""

    runtime: Runtime
    recipe: Any

    def action(self, model: ModelFacts = NO_MODEL) -> Step:
        """The runtime's step; it has no model."""
        return self.runtime.plan(self.recipe)


class Custom(NamedTuple):
    """What a worker of the user's own makes."""

    made_by: Action

    def action(self, model: ModelFacts) -> Step:
        """The user's action itself."""
        return self.made_by


@dataclass(frozen=True, slots=True)
class Declaration:
    """`name` is the target's path as people see it, `target` the absolute one; `label` is the
    precision or type that the summary shows."""

    name: str
    target: Path
    format: str
    label: str
    model: ModelRef | None
    what: Conversion | Packaging | Generation | Programs | Custom
    current_interpreter: bool = False

    @property
    def sources(self) -> list[Path]:
        """The folders and files that the target is made from; some are other targets."""
        paths = [self.model.folder] if self.model is not None else []
        what = self.what
        if isinstance(what, Custom) and what.made_by.code_root is not None:
            paths += [what.made_by.worker, *what.made_by.worker_files]
        if isinstance(what, Custom | Programs):
            return [*paths, *(Path(one.path) for one in files_of(what.action(NO_MODEL)))]
        if isinstance(what, Packaging | Generation):
            paths.append(what.artifact)
        if isinstance(what, Packaging | Conversion):
            paths += [Path(one.path) for one in what.extras.values()]
        return paths

    @property
    def artifact_facts(self) -> ArtifactFacts:
        """What packagers may know of the artifact before its model is read."""
        name = self.model.folder.name if self.model is not None else ""
        facts = ArtifactFacts(self.format, self.label, name)
        match self.what:
            case Conversion(backend):
                return facts._replace(
                    kind=backend.kind,
                    is_model=backend.is_model,
                    suffix=backend.suffix,
                    format_code=backend.format_code,
                )
            case Packaging(packager):
                return facts._replace(kind=packager.kind, is_model=False)
            case Generation():
                return facts._replace(kind="file", is_model=False)
            case Programs():
                return facts._replace(kind="tree")
        return facts

    @property
    def is_compiled_in_place(self) -> bool:
        """Whether other rules compile files of the artifact, and leave objects beside them."""
        what = self.what
        return isinstance(what, Packaging) and bool(what.packager.nodes(what.recipe))

    def action(self, model: ModelFacts) -> Step:
        """The action that makes the artifact, its inputs included."""
        action = self.what.action(model)
        return _in_current(action) if self.current_interpreter else action


def model_facts(checkpoint: Checkpoint | None) -> ModelFacts:
    """What plans and checks may know of a checkpoint; nothing while it is not there."""
    if checkpoint is None:
        return NO_MODEL
    return ModelFacts(
        checkpoint.documents.architecture,
        tuple(
            Tensor(one.name, one.dtype, one.shape, one.size, largest=one.largest)
            for one in checkpoint.tensors
        ),
        {name: str(digest) for name, digest in checkpoint.slices.items()},
        checkpoint.documents.license,
    )


def _in_current(step: Step) -> Step:
    """The same step under the running interpreter, and so are its inputs."""
    inputs = tuple((name, _input_in_current(one)) for name, one in step.inputs)
    if isinstance(step, Assembly):
        return Assembly(step.name, inputs)
    own = step.toolchain
    return step._replace(toolchain=own if own in (HOST, OWN) else CURRENT + own, inputs=inputs)


def _input_in_current(one: Input) -> Input:
    if isinstance(one, Part):
        return Part(_in_current(one.of), one.path)
    return one if isinstance(one, FileInput) else _in_current(one)
