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
    Runtime,
    Tensor,
)
from phibuild.registry import describe_file
from phibuild.toolchain.compiler import Compiler, CrossCompiler, find_compiler, find_cross_compiler

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
    "CrossCompiler",
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
    "Runtime",
    "Slice",
    "SourceError",
    "Step",
    "Tensor",
    "ToolchainError",
    "describe_file",
    "find_compiler",
    "find_cross_compiler",
    "frozen_recipe",
    "hookimpl",
    "parse_recipe",
    "recipe_field",
    "recipe_values",
    "rules_of",
    "steps_of",
]
