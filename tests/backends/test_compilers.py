"""llama.cpp compiled by gcc and by clang makes the same artifacts, byte for byte.

The other compiler's llama.cpp is built once in the session's store.
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
# By family, the file types without an imatrix and with one; experts are rows like others.
ASKED = {
    "phi-3": (TYPES, ("Q4_K_M", "IQ2_XS", "IQ3_S")),
    "phi-3.5-moe": (("Q4_0", "Q4_K_M"), ("Q4_K_M",)),
}


@pytest.fixture
def other() -> dict[str, str]:
    """The compiler that is not the one which phibuild takes here."""
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
    """An imatrix comes of running the model, where a compiler may add in another order: both take
    the one that the first made."""
    project = project_of_tiny
    project.write("text.txt", "the quick brown fox jumps over the lazy dog " * 40)
    weighing = lines = ""
    for family, (plain, weighed) in ASKED.items():
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
    made = []
    for compilers in ({}, other):
        ran = project.scons(**compilers)
        assert ran.status == 0, ran.text
        assert len(ran.names("built")) == sum(map(len, chain(*ASKED.values())))
        manifests = sorted((project.folder / "dist").glob("*.phi.json"))
        made.append(
            {
                one.name: tree_of(one.with_name(one.name.removesuffix(".phi.json")))
                for one in manifests
            }
        )
    assert made[0] == made[1]
