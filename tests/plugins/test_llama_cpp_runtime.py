"""llama.cpp for a device: the plan, its facts, and what is refused."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from phibuild_gguf.llama_cpp.build import build, build_for_device
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
    """The action that compiles, and the parts of its result in the folder."""
    needed_tool(f"{TRIPLET}-g++")
    recipe = parse_recipe(LlamaCppRecipe, fields, builder="LlamaCpp")
    assembly = build_for_device(recipe)
    compiled = next(iter(steps_of(assembly)))
    assert isinstance(compiled, Action)
    return compiled, [part.path for _, part in assembly.inputs if isinstance(part, Part)]


def test_other_programs_need_no_other_compilation() -> None:
    compiled, parts = planned()
    again, more = planned(programs=["llama-quantize", "llama-completion"])
    assert again == compiled
    assert parts == ["LICENSE", "bin/llama-completion"]
    assert more == ["LICENSE", "bin/llama-completion", "bin/llama-quantize"]


def test_compiler_flags_and_c_library_are_facts() -> None:
    action, _ = planned(flags=["-DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod"])
    shop = Workshop.open()
    values = {fact.name: fact.value for fact in keyed(shop, action, None, {}).facts}
    compiler, libc = find_cross_compiler(TRIPLET)
    for program in compiler:
        version = values[f"program.{program.name}"]
        assert version.startswith(f"Target: {TRIPLET}; gcc version ")
    assert "armv8.2-a+dotprod" in values["recipe.flags"]
    assert values["input.libc"] == str(read_input(shop.sources, libc).digest)
    folder = str(path_of(compiler.cxx).parent)
    assert not [value for value in values.values() if folder in value]


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
def test_an_unknown_device_or_program_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        parse_recipe(LlamaCppRecipe, fields, builder="LlamaCpp")
    assert refusal.value.code == code
    assert refusal.value.hint


def test_a_missing_compiler_is_named_with_its_package() -> None:
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
