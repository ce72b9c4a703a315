"""The public facade for plugins, names only: a plugin imports phibuild through this alone."""

from phibuild.hookspecs import hookimpl
from phibuild.model.action import (
    Action,
    Assembly,
    FileInput,
    Part,
    Slice,
    Step,
    frozen_recipe,
    steps_of,
)
from phibuild.model.digest import Digest
from phibuild.model.errors import PackagingError, PhiError, RecipeError, SourceError, ToolchainError
from phibuild.model.recipe import (
    PRECISIONS,
    Precision,
    parse_recipe,
    recipe_field,
    recipe_values,
    rules_of,
)
from phibuild.offers import (
    API_VERSION,
    PHITOKENIZER,
    ArtifactFacts,
    Backend,
    Command,
    Description,
    Evaluator,
    ModelFacts,
    NativeToolchain,
    Packager,
    PythonToolchain,
    Room,
    Tensor,
)
from phibuild.registry import describe_artifact
from phibuild.toolchain.compiler import Compiler, find_compiler

__all__ = [
    "API_VERSION",
    "PHITOKENIZER",
    "PRECISIONS",
    "Action",
    "ArtifactFacts",
    "Assembly",
    "Backend",
    "Command",
    "Compiler",
    "Description",
    "Digest",
    "Evaluator",
    "FileInput",
    "ModelFacts",
    "NativeToolchain",
    "Packager",
    "PackagingError",
    "Part",
    "PhiError",
    "Precision",
    "PythonToolchain",
    "RecipeError",
    "Room",
    "Slice",
    "SourceError",
    "Step",
    "Tensor",
    "ToolchainError",
    "describe_artifact",
    "find_compiler",
    "frozen_recipe",
    "hookimpl",
    "parse_recipe",
    "recipe_field",
    "recipe_values",
    "rules_of",
    "steps_of",
]
