"""Declarations: the artifacts that an SConstruct declares, as values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from phibuild.model.action import HOST, OWN, Assembly, FileInput, Input, Part, Step
from phibuild.offers import ArtifactFacts, Backend, Evaluator, ModelFacts, Packager, Tensor
from phibuild.source import Checkpoint

NO_MODEL = ModelFacts({}, ())
CURRENT = "current/"
"""Prefix of a toolchain's name that means: its packages in the running interpreter."""


class ModelRef(NamedTuple):
    """A checkpoint by its folder. `is_target` if a target of the same build makes the folder, so
    that it can only be read when that target is up to date."""

    folder: Path
    is_target: bool = False


class Conversion(NamedTuple):
    """A backend makes the artifact from a model by a recipe."""

    backend: Backend
    recipe: Any
    extras: Mapping[str, FileInput]

    @property
    def format(self) -> str:
        """The backend's format."""
        return self.backend.format

    @property
    def label(self) -> str:
        """The precision or type."""
        return self.backend.label(self.recipe)

    def check(self, model: ModelFacts) -> None:
        """RecipeError PHI2xx for what cannot be built or run."""
        self.backend.check(self.recipe, model, self.extras)

    def plan(self, model: ModelFacts) -> Step:
        """Check, then plan."""
        self.check(model)
        return self.backend.plan(self.recipe, model, self.extras)


class Packaging(NamedTuple):
    """A packager wraps an artifact. `about` is what is known of that besides its model."""

    packager: Packager
    recipe: Any
    artifact: Path
    about: ArtifactFacts
    extras: Mapping[str, FileInput]

    @property
    def format(self) -> str:
        """The packager's format."""
        return self.packager.format

    @property
    def label(self) -> str:
        """The version, or what else sets one package apart."""
        return self.packager.label(self.recipe)

    def check(self, model: ModelFacts) -> None:
        """RecipeError PHI2xx for what cannot be packed."""
        self.packager.check(self.recipe, self.about._replace(model=model), self.extras)

    def plan(self, model: ModelFacts) -> Step:
        """Check, then plan."""
        self.check(model)
        about = self.about._replace(model=model)
        return self.packager.plan(self.recipe, FileInput(str(self.artifact)), about, self.extras)


class Generation(NamedTuple):
    """The answer of an artifact to a prompt; it must contain `expect`, ignoring case. The label is
    the artifact's name."""

    evaluator: Evaluator
    artifact: Path
    label: str
    prompt: str
    max_tokens: int
    expect: str

    @property
    def format(self) -> str:
        """That of all answers."""
        return "answer"

    def plan(self, model: ModelFacts) -> Step:
        """The evaluator's action over the artifact."""
        return self.evaluator.generate(FileInput(str(self.artifact)), self.prompt, self.max_tokens)


class Custom(NamedTuple):
    """The result of a step that needs no model: a runtime's, or one of the user's own."""

    step: Step
    label: str
    format: str = "artifact"
    kind: Literal["file", "tree", ""] = ""

    def plan(self, model: ModelFacts) -> Step:
        """The step itself."""
        return self.step


Origin = Conversion | Packaging | Generation | Custom


class Declaration(NamedTuple):
    """`name` is the target's path as people see it, `target` the absolute one; `inputs` are the
    files and folders besides the model that the target is made from, some of them other targets."""

    name: str
    target: Path
    origin: Origin
    model: ModelRef | None = None
    inputs: tuple[Path, ...] = ()
    current_interpreter: bool = False

    @property
    def format(self) -> str:
        """What kind of artifact it is."""
        return self.origin.format

    @property
    def label(self) -> str:
        """The precision or type that the summary shows."""
        return self.origin.label

    @property
    def sources(self) -> list[Path]:
        """The folder of the model and the inputs."""
        return [*((self.model.folder,) if self.model is not None else ()), *self.inputs]

    @property
    def artifact_facts(self) -> ArtifactFacts:
        """What packagers may know of the artifact before its model is read."""
        name = self.model.folder.name if self.model is not None else ""
        facts = ArtifactFacts(self.format, self.label, name)
        match self.origin:
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
            case Custom():
                return facts._replace(kind=self.origin.kind)
        return facts

    @property
    def is_compiled_in_place(self) -> bool:
        """Whether other rules compile files of the artifact, and leave objects beside them."""
        origin = self.origin
        return isinstance(origin, Packaging) and bool(origin.packager.nodes(origin.recipe))

    def plan(self, model: ModelFacts) -> Step:
        """The step that makes the artifact; RecipeError PHI2xx for what cannot be built or run."""
        step = self.origin.plan(model)
        return _in_current(step) if self.current_interpreter else step


def model_facts(checkpoint: Checkpoint | None) -> ModelFacts:
    """What checks and plans may know of a checkpoint; nothing while it does not exist."""
    if checkpoint is None:
        return NO_MODEL
    return ModelFacts(
        checkpoint.documents.architecture,
        tuple(
            Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.size, largest=tensor.largest)
            for tensor in checkpoint.tensors
        ),
        {name: str(digest) for name, digest in checkpoint.slices.items()},
        checkpoint.documents.license,
    )


def _in_current(step: Step) -> Step:
    """The same step under the running interpreter, and so are its inputs."""
    inputs = tuple((name, _input_in_current(input)) for name, input in step.inputs)
    if isinstance(step, Assembly):
        return Assembly(step.name, inputs)
    name = step.toolchain
    toolchain = name if name in (HOST, OWN) else CURRENT + name
    return step._replace(toolchain=toolchain, inputs=inputs)


def _input_in_current(input: Input) -> Input:
    if isinstance(input, Part):
        return Part(_in_current(input.of), input.path)
    return input if isinstance(input, FileInput) else _in_current(input)
