"""What plugins and the engine exchange: frozen descriptors, each one thing that a plugin offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from phibuild.model.action import Action, FileInput, Step

API_VERSION = 1
"""The version of `phibuild.api` that a descriptor was written for; another one is refused."""


class Tensor(NamedTuple):
    """A tensor of a model or artifact; `shape` as the format stores it, `size` in bytes. `offset`
    is where its bytes begin, if the format tells, in the artifact or, where that is a folder, in
    its `file`, a path from the folder on. `largest` is the largest absolute value of a model's
    tensor; 0 where it is not known."""

    name: str
    type: str
    shape: tuple[int, ...]
    size: int
    offset: int | None = None
    file: str = ""
    largest: float = 0.0


class ModelFacts(NamedTuple):
    """What a plan may know of a model: the canonical architecture (older spelling of config.json),
    the tensors, the digests of its slices by name, and the licence that its card names. All are
    empty while the model is still to be made by another target."""

    architecture: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    slices: Mapping[str, str] = MappingProxyType({})
    license: str = ""

    @property
    def model_type(self) -> str:
        """The `model_type` of config.json, empty while unknown."""
        return str(self.architecture.get("model_type", ""))


class Description(NamedTuple):
    """What `phibuild show` prints of an artifact."""

    format: str
    tensors: tuple[Tensor, ...]
    metadata: tuple[tuple[str, str], ...]


Extras = Mapping[str, FileInput]
"""Files that the user passed beside the model or artifact (an imatrix, a key), by name."""


class Backend(NamedTuple):
    """Makes artifacts of one format; becomes the builder `env.<builder>(target, model, **fields)`.

    `check(recipe, model, extras)` raises RecipeError for what cannot be built or run. It is called
    with an empty model when the SConstruct is read before the model exists, and again with the real
    one. `plan(recipe, model, extras)` returns the step that makes the artifact, with the steps that
    it needs as its inputs; it may look at nothing but its arguments. `extras` names the
    keywords that take a file or another artifact. `label(recipe)` is the precision or type, for
    people. `describe(path)` reads an artifact for `phibuild show`.

    For `phibuild plan`: `predict(recipe, model, extras)` returns an action that reads no weights
    and makes one JSON file, `{"bytes": N}`, the exact size of the artifact; an input of it that
    reads weights is not made for the plan. `most_bytes(recipe)` is a limit that the recipe keeps
    to, if it has one; `bits_per_weight(recipe)` is what to guess by, for want of these and of any
    history; `alternatives(recipe, limit)` are the recipes to propose where an artifact has more
    bytes than the limit, best first.
    """

    name: str
    builder: str
    format: str
    kind: Literal["file", "tree"]
    recipe: type[Any]
    check: Callable[[Any, ModelFacts, Extras], None]
    plan: Callable[[Any, ModelFacts, Extras], Step]
    label: Callable[[Any], str]
    describe: Callable[[Path], Description]
    extras: tuple[str, ...] = ()
    predict: Callable[[Any, ModelFacts, Extras], Action] | None = None
    most_bytes: Callable[[Any], int | None] = lambda _: None
    bits_per_weight: Callable[[Any], float] | None = None
    alternatives: Callable[[Any, int], Iterable[Any]] | None = None
    api_version: int = API_VERSION


class ArtifactFacts(NamedTuple):
    """What a packager may know of the artifact that it wraps. `format` is empty for a file that no
    target of this build makes; `model_name` is the name of the model's folder."""

    format: str = ""
    label: str = ""
    model_name: str = ""
    model: ModelFacts = ModelFacts({}, ())


class Room(NamedTuple):
    """How many bytes there are for an artifact, and what leaves it that, for people."""

    bytes: int
    of: str


class Packager(NamedTuple):
    """Wraps one artifact for a device; becomes the builder `env.<builder>(target, artifact,
    **fields)`.

    `check`, `plan`, `label` and `extras` are like a backend's, of the artifact in the place of the
    model. `nodes(recipe)` names the small files in a tree that later rules compile or link, each a
    node of the build graph. `room(recipe, about)` is the least room that there is for the artifact,
    which is compared before any work is done; None if there is no limit. `holds(recipe, size)` is
    how large the artifact can be where what is made of it may have `size` bytes.
    """

    name: str
    builder: str
    format: str
    recipe: type[Any]
    check: Callable[[Any, ArtifactFacts, Extras], None]
    plan: Callable[[Any, FileInput, ArtifactFacts, Extras], Step]
    label: Callable[[Any], str]
    extras: tuple[str, ...] = ()
    describe: Callable[[Path], Description] | None = None
    nodes: Callable[[Any], tuple[str, ...]] = lambda _: ()
    room: Callable[[Any, ArtifactFacts], Room | None] = lambda _recipe, _about: None
    holds: Callable[[Any, int], int] = lambda _recipe, size: size
    api_version: int = API_VERSION


class Runtime(NamedTuple):
    """Makes a folder with the programs that run artifacts on a device; becomes the builder
    `env.<builder>(target, **fields)`.

    `plan(recipe)` may ask who this machine's compilers are, and nothing else beside the recipe.
    """

    name: str
    builder: str
    format: str
    recipe: type[Any]
    plan: Callable[[Any], Step]
    label: Callable[[Any], str]
    describe: None = None
    api_version: int = API_VERSION


class Evaluator(NamedTuple):
    """Runs an artifact of one format in its own runtime.

    `generate(artifact, prompt, max_tokens)` is the action whose result is one UTF-8 text file: what
    the artifact answers to the prompt through its own chat template, by greedy decoding, without
    the prompt. A worker that finds the artifact unable to load or run raises WorkerError PHI802.
    """

    format: str
    generate: Callable[[FileInput, str, int], Action]
    api_version: int = API_VERSION


class PythonToolchain(NamedTuple):
    """An interpreter with locked packages. `lock` is in requirements format, pinned and hashed;
    `roots` are the packages that `toolchain="current"` must find installed."""

    name: str
    lock: Path
    roots: tuple[str, ...] = ()
    api_version: int = API_VERSION


class NativeToolchain(NamedTuple):
    """Programs made by an ordinary keyed action; workers are shown its result tree as a tool."""

    name: str
    build: Callable[[], Action]
    api_version: int = API_VERSION


class Command(NamedTuple):
    """A further subcommand of `phibuild`: a click command, imported when it is called."""

    name: str
    load: Callable[[], Any]
    api_version: int = API_VERSION
