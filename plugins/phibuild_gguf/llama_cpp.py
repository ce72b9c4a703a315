"""The native toolchain llama.cpp: its programs and its converter, built from pinned source.

The environment variable PHIBUILD_LLAMA_CPP names a checkout to build instead, which is another
identity: its bytes are facts. PHIBUILD_LLAMA_CPP_FLAGS adds options for CMake; they are facts too.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from phibuild.api import Action, FileInput, ToolchainError, find_compiler, frozen_recipe

_HERE = Path(__file__).parent
_CHECKOUT = "PHIBUILD_LLAMA_CPP"
_FLAGS = "PHIBUILD_LLAMA_CPP_FLAGS"


def build() -> Action:
    """The action that compiles it. PHI601 without a compiler."""
    folder = build_folder()
    worker, readme = folder / "build.py", folder / "README.md"
    compiler = find_compiler()
    checkout = os.environ.get(_CHECKOUT)
    flags = shlex.split(os.environ.get(_FLAGS, ""))
    return Action(
        name="toolchain.llama.cpp",
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
