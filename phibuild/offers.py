"""What plugins and the engine exchange: frozen descriptors, one for each kind of offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from phibuild.model.action import Action, FileInput, Step

API_VERSION = 1
"""The version of `phibuild.api`. A descriptor that was written for another version is refused."""


class BlockField(NamedTuple):
    """One field of a quantization block. A difference of two artifacts compresses well where like
    bytes are compared with like."""

    width: int
    """Bytes."""
    is_number: bool = False
    """A little-endian number of 2 or 4 bytes, such as a scale, and not single bytes."""


class Tensor(NamedTuple):
    """A tensor of a model or artifact."""

    name: str
    type: str
    """The format's name for it."""
    shape: tuple[int, ...]
    """As the format stores it."""
    size: int
    """Bytes."""
    offset: int | None = None
    """Where its bytes begin in the artifact, or in `file`; None where the format does not say."""
    file: str = ""
    """The file that holds it, in an artifact that is a folder: a path from the folder on."""
    largest: float = 0.0
    """The largest absolute value of a model's tensor; 0 where it is not known."""
    block: tuple[BlockField, ...] = ()
    """The fields of its quantization blocks, in order; empty for plain numbers."""


class ModelFacts(NamedTuple):
    """What a plan may know of a model. All is empty while another target has yet to make it."""

    architecture: Mapping[str, Any]
    """config.json, in the older spelling of its fields."""
    tensors: tuple[Tensor, ...]
    slices: Mapping[str, str] = MappingProxyType({})
    """Digests of the model's slices by name."""
    license: str = ""
    """The licence that the model's card names."""

    @property
    def model_type(self) -> str:
        """The `model_type` of config.json, empty while unknown."""
        return str(self.architecture.get("model_type", ""))


class FilePlace(NamedTuple):
    """Where a file lies inside a container."""

    path: str
    offset: int
    size: int


class Description(NamedTuple):
    """What a file or folder of one format holds."""

    format: str
    tensors: tuple[Tensor, ...]
    metadata: tuple[tuple[str, str], ...]
    """Names and values, as `phibuild show` prints them."""
    files: tuple[FilePlace, ...] = ()
    """The files in an artifact that is a container."""


Extras = Mapping[str, FileInput]
"""Files that the user passed beside the model or artifact (an imatrix, a key), by name."""


class Backend(NamedTuple):
    """Builds artifacts of one format: the builder `env.<builder>(target, model, **fields)`."""

    name: str
    """How messages and the contract test name the backend."""
    builder: str
    """The builder's name; no other plugin may offer the same."""
    format: str
    """The format's name for people; an evaluator of the same format can run the artifact."""
    kind: Literal["file", "tree"]
    """Whether an artifact is one file or a folder."""
    recipe: type[Any]
    """A frozen dataclass whose fields are `recipe_field`s: the keywords of the builder."""
    check: Callable[[Any, ModelFacts, Extras], None]
    """`check(recipe, model, extras)` raises RecipeError for what cannot be built or run. It is
    called with an empty model if another target has yet to make it, and again with the real one."""
    plan: Callable[[Any, ModelFacts, Extras], Step]
    """`plan(recipe, model, extras)` returns the step that makes the artifact; the steps that it
    needs are its inputs. It may look at nothing but its arguments."""
    label: Callable[[Any], str]
    """`label(recipe)` is the precision or type, for people."""
    describe: Callable[[Path], Description]
    """`describe(path)` reads an artifact; PhiError if it is damaged, or is something else."""
    extras: tuple[str, ...] = ()
    """Keywords of the builder that name a file or another artifact."""
    predict: Callable[[Any, ModelFacts, Extras], Action] | None = None
    """`predict(recipe, model, extras)` returns an action that reads no weights and writes one JSON
    file, `{"bytes": N}`: the exact size of the artifact, for `phibuild plan`. An input of it that
    reads weights is not built for the plan."""
    most_bytes: Callable[[Any], int | None] = lambda _: None
    """`most_bytes(recipe)` is the limit on the artifact's size that the recipe sets, if any."""
    bits_per_weight: Callable[[Any], float] | None = None
    """`bits_per_weight(recipe)` estimates a size where nothing better is known."""
    alternatives: Callable[[Any, int], Iterable[Any]] | None = None
    """`alternatives(recipe, limit)` are the recipes to propose where an artifact exceeds a limit in
    bytes, best first."""
    is_model: bool = True
    """Whether an artifact is a model that a device can run; False for calibration data."""
    suffix: str = ""
    """The suffix of an artifact that is one file, such as `.gguf`."""
    format_code: str = "FILE"
    """Four ASCII characters by which model images name the format."""
    starters: tuple[Mapping[str, Any], ...] = ()
    """Recipes for the SConstruct that `phibuild init` writes: the first that passes `check`."""
    api_version: int = API_VERSION


class ArtifactFacts(NamedTuple):
    """What a packager may know of the artifact that it wraps."""

    format: str = ""
    """Empty for a file that no target of this build makes."""
    label: str = ""
    model_name: str = ""
    """The name of the model's folder."""
    model: ModelFacts = ModelFacts({}, ())
    kind: Literal["file", "tree", ""] = ""
    """Empty where it is not known before the artifact exists."""
    is_model: bool = True
    """False where the artifact is known to hold something else, or to be a package already."""
    suffix: str = ""
    format_code: str = "FILE"
    """As the backend offers them."""


class SizeLimit(NamedTuple):
    """The most bytes that an artifact may have."""

    bytes: int
    reason: str
    """What sets the limit, for people: `slot_size of 4,096 bytes`."""


class Packager(NamedTuple):
    """Wraps one artifact for a device: the builder `env.<builder>(target, artifact, **fields)`.
    Fields without a description here are those of a backend, with the artifact in the
    place of the model."""

    name: str
    builder: str
    format: str
    kind: Literal["file", "tree"]
    recipe: type[Any]
    check: Callable[[Any, ArtifactFacts, Extras], None]
    plan: Callable[[Any, FileInput, ArtifactFacts, Extras], Step]
    label: Callable[[Any], str]
    extras: tuple[str, ...] = ()
    describe: Callable[[Path], Description] | None = None
    contents: Callable[[Path], Description | None] = lambda _: None
    """`contents(path)` says where files and tensors lie in a package, for deltas; None for a
    file that is not such a package."""
    nodes: Callable[[Any], tuple[str, ...]] = lambda _: ()
    """`nodes(recipe)` names the small files in a tree that later rules compile or link; each is a
    node of the build graph."""
    size_limit: Callable[[Any, ArtifactFacts], SizeLimit | None] = lambda _recipe, _about: None
    """`size_limit(recipe, about)` is the tightest limit on the wrapped artifact, checked before any
    work is done; None if there is no limit."""
    payload_limit: Callable[[Any, int], int] = lambda _recipe, size: size
    """`payload_limit(recipe, size)` is the largest artifact whose package fits `size` bytes."""
    api_version: int = API_VERSION


class Runtime(NamedTuple):
    """Builds a folder with the programs that run artifacts on a device: the builder
    `env.<builder>(target, **fields)`."""

    name: str
    builder: str
    format: str
    recipe: type[Any]
    plan: Callable[[Any], Step]
    """`plan(recipe)` may ask the machine for its compilers, and look at nothing else."""
    label: Callable[[Any], str]
    describe: None = None
    """An artifact of a runtime has no description."""
    api_version: int = API_VERSION


class Evaluator(NamedTuple):
    """Runs an artifact of one format in its own runtime, for `env.Generate`."""

    format: str
    """The format of the backends whose artifacts it runs."""
    generate: Callable[[FileInput, str, int], Action]
    """`generate(artifact, prompt, max_tokens)` returns the action that writes one UTF-8 text file:
    the answer to the prompt through the artifact's chat template, by greedy decoding, without the
    prompt. Its worker raises WorkerError PHI802 if the artifact cannot be loaded or run."""
    api_version: int = API_VERSION


class PythonToolchain(NamedTuple):
    """An interpreter with locked packages, installed when a worker first needs it."""

    name: str
    lock: Path
    """A requirements file in which every package is pinned and hashed."""
    roots: tuple[str, ...] = ()
    """Packages that must be installed in the current interpreter for `toolchain="current"`."""
    api_version: int = API_VERSION


class NativeToolchain(NamedTuple):
    """Programs that an ordinary action builds. Workers find its result in `job.tools`."""

    name: str
    build: Callable[[], Action]
    api_version: int = API_VERSION


class Command(NamedTuple):
    """A further subcommand of `phibuild`."""

    name: str
    load: Callable[[], Any]
    """`load()` imports and returns the click command; it is called when the command is."""
    api_version: int = API_VERSION
