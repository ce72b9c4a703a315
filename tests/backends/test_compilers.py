"""llama.cpp compiled by gcc and by clang writes the same artifacts, byte for byte.

The second compiler's llama.cpp is built once in the session's store.
"""

from __future__ import annotations

from itertools import chain

import pytest

from phibuild.toolchain.compiler import find_compiler
from phibuild.toolchain.program import ask, path_of
from tests.backends.conftest import Tiny
from tests.backends.slices import tree_of
from tests.conftest import Project
from tests.firmware.tools import needed_tool

pytestmark = pytest.mark.toolchain

TYPES = ("F16", "Q8_0", "Q4_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_S", "Q6_K")
TYPES += ("IQ4_XS", "IQ4_NL", "TQ2_0")
# By family, the file types without an imatrix and with one.
FILE_TYPES = {
    "phi-3": (TYPES, ("Q4_K_M", "IQ2_XS", "IQ3_S")),
    "phi-3.5-moe": (("Q4_0", "Q4_K_M"), ("Q4_K_M",)),
}


@pytest.fixture
def other() -> dict[str, str]:
    """The compiler that phibuild does not use by default on this machine."""
    needed_tool("c++")
    compiler = find_compiler().cxx
    is_clang = "clang version" in ask(compiler, path_of(compiler))
    names = {"CC": "gcc", "CXX": "g++"} if is_clang else {"CC": "clang", "CXX": "clang++"}
    for name in names.values():
        needed_tool(name)
    return names


def test_gcc_and_clang_make_the_same_artifacts(
    project_of_tiny: Project, tiny: Tiny, other: dict[str, str]
) -> None:
    """Both use the first compiler's imatrix: running the model adds up in an order that depends on
    the compiler."""
    project = project_of_tiny
    project.write("text.txt", "the quick brown fox jumps over the lazy dog " * 40)
    weighing = lines = ""
    for family, (plain, weighed) in FILE_TYPES.items():
        tiny(family, name=family, hidden=256, layers=1)
        model = f'env.PhiModel("{family}")'
        imatrix = f'"{family}.imatrix"'
        weighing += (
            f'env.Imatrix({imatrix}, {model}, text="text.txt", ctx_size=64, process_output=True)\n'
        )
        lines += f"m = {model}\n"
        lines += "".join(f'env.GGUF("dist/{family}-{name}", m, quant="{name}")\n' for name in plain)
        lines += "".join(
            f'env.GGUF("dist/{family}-{name}-im", m, quant="{name}", imatrix={imatrix})\n'
            for name in weighed
        )
    project.sconstruct(weighing)
    ran = project.scons()
    assert ran.status == 0, ran.text
    project.sconstruct(lines)
    trees = []
    for compilers in ({}, other):
        ran = project.scons(**compilers)
        assert ran.status == 0, ran.text
        assert len(ran.names("built")) == sum(map(len, chain(*FILE_TYPES.values())))
        manifests = sorted((project.folder / "dist").glob("*.phi.json"))
        trees.append(
            {
                manifest.name: tree_of(manifest.with_name(manifest.name.removesuffix(".phi.json")))
                for manifest in manifests
            }
        )
    assert trees[0] == trees[1]
