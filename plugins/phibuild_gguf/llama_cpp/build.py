"""Builds llama.cpp from pinned source: the native toolchain (programs and converter), and programs
that run models on a device.

The environment variable PHIBUILD_LLAMA_CPP names a checkout to build instead; its bytes are facts.
PHIBUILD_LLAMA_CPP_FLAGS adds CMake options to the toolchain's; they are facts too.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from phibuild.api import (
    Action,
    Assembly,
    Compiler,
    FileInput,
    Part,
    Program,
    ToolchainError,
    find_compiler,
    find_cross_compiler,
    frozen_recipe,
)
from phibuild_gguf.recipe import LlamaCppRecipe

_PLUGIN = Path(__file__).parents[1]
_CHECKOUT = "PHIBUILD_LLAMA_CPP"
_FLAGS = "PHIBUILD_LLAMA_CPP_FLAGS"
# They need no version: all compiler options are set by us, so these two do not affect the result.
_BUILDING = tuple(
    Program(name, (), "", "pip install 'cmake>=3.25' ninja", with_python=True)
    for name in ("cmake", "ninja")
)


def build() -> Action:
    """The action that builds llama.cpp for this machine. PHI601 without a compiler."""
    flags = [*_apple_flags(), *shlex.split(os.environ.get(_FLAGS, ""))]
    return _compile("toolchain.llama.cpp", find_compiler(), flags)


def build_for_device(recipe: LlamaCppRecipe) -> Assembly:
    """A folder with programs for another machine, and the licence. PHI601 without the compiler."""
    compiler, libc = find_cross_compiler(recipe.triplet)
    # The user's flags come first, where `explain` shows them; CMake uses the last of two values.
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
    """The machine, for the summary."""
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
                "cc": compiler.cc.name,
                "cxx": compiler.cxx.name,
                **({"flags": flags} if flags else {}),
            }
        ),
        inputs=(
            ("native", FileInput(str(_PLUGIN / "native"))),
            *((("checkout", FileInput(str(Path(checkout).resolve()))),) if checkout else ()),
            *inputs,
        ),
        network=checkout is None,
        programs=(*compiler, *_BUILDING),
    )


def _apple_flags() -> list[str]:
    """What Apple's compilers read from the environment, as options, and thus as facts."""
    options = {
        "SDKROOT": "CMAKE_OSX_SYSROOT",
        "MACOSX_DEPLOYMENT_TARGET": "CMAKE_OSX_DEPLOYMENT_TARGET",
    }
    if sys.platform != "darwin":
        return []
    return [
        f"-D{option}={os.environ[name]}" for name, option in options.items() if os.environ.get(name)
    ]


def build_folder() -> Path:
    """third_party/llama.cpp: inside the package once installed, beside it in the source tree."""
    inside = _PLUGIN / "third_party" / "llama.cpp"
    beside = _PLUGIN.parents[1] / "third_party" / "llama.cpp"
    for folder in (inside, beside):
        if (folder / "CMakeLists.txt").is_file():
            return folder
    raise ToolchainError(
        f"the build files of llama.cpp are neither in {inside} nor in {beside}",
        hint="reinstall phibuild",
        code="PHI603",
    )
