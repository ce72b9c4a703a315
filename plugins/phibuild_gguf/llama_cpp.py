"""llama.cpp, built from pinned source: as the native toolchain with its programs and its converter,
and for a device as the programs that run models there.

The environment variable PHIBUILD_LLAMA_CPP names a checkout to build instead, which is another
identity: its bytes are facts. PHIBUILD_LLAMA_CPP_FLAGS adds options for CMake to the toolchain's;
they are facts too.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from phibuild.api import (
    Action,
    Assembly,
    Compiler,
    FileInput,
    Part,
    ToolchainError,
    find_compiler,
    find_cross_compiler,
    frozen_recipe,
)
from phibuild_gguf.recipe import LlamaCppRecipe

_HERE = Path(__file__).parent
_CHECKOUT = "PHIBUILD_LLAMA_CPP"
_FLAGS = "PHIBUILD_LLAMA_CPP_FLAGS"


def build() -> Action:
    """The action that compiles it for this machine. PHI601 without a compiler."""
    flags = shlex.split(os.environ.get(_FLAGS, ""))
    return _compile("toolchain.llama.cpp", find_compiler(), flags)


def build_for_device(recipe: LlamaCppRecipe) -> Assembly:
    """A folder with programs of it for another machine, and its licence. PHI601 without the
    compiler."""
    compiler, libc = find_cross_compiler(recipe.triplet)
    # The user's first, where an explanation shows them; of two that differ CMake takes the last.
    flags = (
        *recipe.flags,
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={recipe.triplet.partition('-')[0]}",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
    )
    compiled = _compile("gguf.compile_llama_cpp", compiler, flags, ("libc", FileInput(str(libc))))
    programs = sorted(set(recipe.programs))
    return Assembly(
        "gguf.llama_cpp",
        (
            ("LICENSE", Part(compiled, "LICENSE")),
            *((name, Part(compiled, f"bin/{name}")) for name in programs),
        ),
    )


def label_device(recipe: LlamaCppRecipe) -> str:
    """What the summary shows: the machine."""
    return recipe.triplet


def _compile(
    name: str, compiler: Compiler, flags: Sequence[str], *inputs: tuple[str, FileInput]
) -> Action:
    folder = build_folder()
    worker, readme = folder / "build.py", folder / "README.md"
    checkout = os.environ.get(_CHECKOUT)
    return Action(
        name=name,
        worker=worker,
        worker_files=tuple(
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path not in (worker, readme) and path.suffix != ".pyc"
        ),
        toolchain="host",
        recipe=frozen_recipe(
            {
                "cc": _name_on_path(compiler.cc),
                "cxx": _name_on_path(compiler.cxx),
                "compiler": compiler.identity,
                **({"flags": flags} if flags else {}),
            }
        ),
        inputs=(
            ("native", FileInput(str(_HERE / "native"))),
            *((("checkout", FileInput(str(Path(checkout).resolve()))),) if checkout else ()),
            *inputs,
        ),
        network=checkout is None,
    )


def _name_on_path(compiler: str) -> str:
    """A compiler without its folder, which is this machine's and so may not be in a key."""
    name = Path(compiler).name
    if shutil.which(name) != compiler:
        raise ToolchainError(
            f"the compiler {compiler} is not what {name} means on the path",
            hint=f"put {Path(compiler).parent} first into PATH",
            code="PHI601",
        )
    return name


def build_folder() -> Path:
    """Where the build is described: inside the package once installed, beside it in the source."""
    inside = _HERE / "third_party" / "llama.cpp"
    beside = _HERE.parents[1] / "third_party" / "llama.cpp"
    for folder in (inside, beside):
        if (folder / "CMakeLists.txt").is_file():
            return folder
    raise ToolchainError(
        f"the build description of llama.cpp is neither in {inside} nor in {beside}",
        hint="install phibuild again",
        code="PHI603",
    )
