"""llama.cpp for a device: what is planned, what decides it, and what is refused."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from phibuild_gguf.llama_cpp import build, build_for_device
from phibuild_gguf.recipe import LlamaCppRecipe

from phibuild.engine.keys import keyed
from phibuild.engine.reading.inputs import read_input
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action, Part, steps_of
from phibuild.model.errors import RecipeError, ToolchainError
from phibuild.model.recipe import parse_recipe
from phibuild.toolchain.compiler import find_cross_compiler
from phibuild.toolchain.program import path_of
from tests.conftest import Project
from tests.firmware.tools import needed_tool

TRIPLET = "aarch64-linux-gnu"


def planned(**fields: Any) -> tuple[Action, list[str]]:
    """The action that compiles, and the parts that are taken of what it makes."""
    needed_tool(f"{TRIPLET}-g++")
    recipe = parse_recipe(LlamaCppRecipe, fields, builder="LlamaCpp")
    assembly = build_for_device(recipe)
    compiled = next(iter(steps_of(assembly)))
    assert isinstance(compiled, Action)
    return compiled, [one.path for _, one in assembly.inputs if isinstance(one, Part)]


def test_other_programs_are_taken_of_one_compilation() -> None:
    one, parts = planned()
    other, more = planned(programs=["llama-quantize", "llama-completion"])
    assert one == other
    assert parts == ["LICENSE", "bin/llama-completion"]
    assert more == ["LICENSE", "bin/llama-completion", "bin/llama-quantize"]


def test_compiler_flags_and_c_library_are_facts() -> None:
    action, _ = planned(flags=["-DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod"])
    shop = Workshop.open()
    found = {f.name: f.value for f in keyed(shop, action, None, {}).facts}
    compiler, libc = find_cross_compiler(TRIPLET)
    for program in compiler:
        told = found[f"program.{program.name}"]
        assert told.startswith(f"Target: {TRIPLET}; gcc version ")
    assert "armv8.2-a+dotprod" in found["recipe.flags"]
    assert found["input.libc"] == str(read_input(shop.sources, libc).digest)
    folder = str(path_of(compiler.cxx).parent)
    assert not [value for value in found.values() if folder in value]


def test_the_toolchain_of_this_machine_is_another_action() -> None:
    action, _ = planned()
    host = build()
    assert "flags" not in dict(host.recipe)
    assert [name for name, _ in host.inputs] == ["native"]
    assert host.name != action.name


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"compiler": "aarch64-linux-gnu-g++"}, "PHI201"),
        ({"triplet": "arm-none-eabi"}, "PHI202"),
        ({"triplet": "../linux-gnu"}, "PHI202"),
        ({"programs": ["llama-server"]}, "PHI202"),
        ({"programs": []}, "PHI202"),
        ({"flags": "-DX=1"}, "PHI202"),
    ],
)
def test_what_is_no_device_or_program_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        parse_recipe(LlamaCppRecipe, fields, builder="LlamaCpp")
    assert refusal.value.code == code
    assert refusal.value.hint


def test_a_compiler_that_is_not_there_is_named_with_its_package() -> None:
    assert shutil.which("hppa-linux-gnu-g++") is None
    with pytest.raises(ToolchainError, match="hppa-linux-gnu-g\\+\\+") as refusal:
        build_for_device(LlamaCppRecipe(triplet="hppa-linux-gnu"))
    assert refusal.value.code == "PHI601"
    assert "apt install g++-hppa-linux-gnu" in refusal.value.hint


def test_an_sconstruct_without_the_compiler_fails_at_its_line_and_cleans(project: Project) -> None:
    project.sconstruct('env.LlamaCpp("dist/llama", triplet="hppa-linux-gnu")\n')
    ran = project.scons()
    assert ran.status != 0
    assert "[PHI601]" in ran.text
    assert "SConstruct, line 4" in ran.text
    assert project.scons("-c").status == 0
