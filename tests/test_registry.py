"""Plugins are found, checked, and reported; a stranger's broken one does not stop a build."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from phibuild.api import Command, Evaluator, PythonToolchain, hookimpl
from phibuild.model.errors import PluginError
from phibuild.registry import DISABLED, Plugin, Registry, load_registry, sort_offers
from tests.conftest import Project

A_TOOLCHAIN = PythonToolchain("mine", Path("toolchain.lock"))


def returning(offers: list[Any]) -> Callable[[], list[Any]]:
    """A hook: pluggy looks at functions only."""

    def hook() -> list[Any]:
        return offers

    return hook


def a_plugin(**hooks: Any) -> ModuleType:
    """A module whose hooks return these offers."""
    module = ModuleType("a_plugin")
    for name, offers in hooks.items():
        setattr(module, name, hookimpl(returning(offers)))
    return module


def sorted_offers(*modules: ModuleType | str) -> Registry:
    """The registry of these modules; a text is the problem of one that fails to import."""
    return sort_offers(
        (Plugin(name, f"dist-{name}", "1.0", module), None)
        if isinstance(module, str)
        else (Plugin(name, f"dist-{name}", "1.0"), module)
        for name, module in zip("abcdef", modules, strict=False)
    )


def test_the_four_backends_come_through_the_entry_points() -> None:
    registry = load_registry()
    assert {"GGUF", "Imatrix", "OnnxGenAI", "OpenVINO", "MLX"} <= set(registry.backends)
    assert {"GGUF", "ONNX", "OpenVINO IR", "MLX"} <= set(registry.evaluators)
    assert {"gguf", "onnx", "openvino", "mlx"} <= set(registry.pythons)
    assert "llama.cpp" in registry.natives
    assert all(plugin.problem == "" for plugin in registry.plugins)


def test_offers_of_all_kinds_are_collected() -> None:
    registry = sorted_offers(
        a_plugin(
            phibuild_toolchains=[A_TOOLCHAIN],
            phibuild_commands=[Command("hello", load=lambda: None)],
            phibuild_evaluators=[Evaluator("TXT", generate=lambda *_: None)],  # type: ignore[arg-type]
        )
    )
    assert registry.pythons == {"mine": A_TOOLCHAIN}
    assert set(registry.commands) == {"hello"}
    assert set(registry.evaluators) == {"TXT"}


def test_a_name_clash_names_both_distributions() -> None:
    with pytest.raises(PluginError, match=r"dist-a 1\.0 and dist-b 1\.0 both offer 'mine'"):
        sorted_offers(
            a_plugin(phibuild_toolchains=[A_TOOLCHAIN]), a_plugin(phibuild_toolchains=[A_TOOLCHAIN])
        )


def test_a_misspelt_hook_is_an_error() -> None:
    with pytest.raises(PluginError, match="dist-a") as refusal:
        sorted_offers(a_plugin(phibuild_toolchain=[A_TOOLCHAIN]))
    assert refusal.value.code == "PHI501"


def test_another_api_version_is_refused() -> None:
    newer = A_TOOLCHAIN._replace(api_version=99)
    with pytest.raises(PluginError, match="api_version 99") as refusal:
        sorted_offers(a_plugin(phibuild_toolchains=[newer]))
    assert refusal.value.code == "PHI502"


def test_a_plugin_that_fails_to_import_is_skipped_and_named() -> None:
    registry = sorted_offers("ImportError: no", a_plugin(phibuild_toolchains=[A_TOOLCHAIN]))
    assert registry.plugins[0].problem == "ImportError: no"
    assert registry.pythons == {"mine": A_TOOLCHAIN}


def test_a_missing_offer_lists_what_there_is() -> None:
    with pytest.raises(PluginError, match="no plugin offers the evaluator 'PDF'"):
        sorted_offers().evaluator("PDF")


# The memory from build to build

LOADED = """
import sys
from pathlib import Path
from phibuild.registry import load_registry
registry = load_registry(Path("plugins"))
print(*sorted(name for name in registry.runtimes), flush=True)
if len(sys.argv) > 1:
    print(registry.runtimes[sys.argv[1]].label(None))
print(*sorted(name for name in sys.modules if name in ("phibuild_mlx", "phibuild_gguf", "mine")))
"""
MINE = """
from phibuild.api import Runtime, hookimpl

@hookimpl
def phibuild_runtimes():
    return [Runtime("mine", "{builder}", "mine", object, plan=None, label=lambda _: "a label")]
"""


@pytest.fixture
def loading(project: Project) -> Callable[..., list[str]]:
    """A function that returns what a new process with a plugin of the user's own prints."""
    project.write("mine.py", MINE.format(builder="Mine"))
    project.write("mine-1.dist-info/METADATA", "Name: mine\nVersion: 1\n")
    project.write("mine-1.dist-info/entry_points.txt", "[phibuild]\nmine = mine\n")

    def run(*arguments: str, **environment: str) -> list[str]:
        command = (sys.executable, "-P", "-c", LOADED, *arguments)
        environment["PYTHONPATH"] = str(project.folder)
        return project.run(*command, **environment).text.splitlines()

    return run


def test_only_the_plugins_that_are_needed_are_loaded(loading: Callable[..., list[str]]) -> None:
    assert loading() == ["LlamaCpp Mine", "mine phibuild_gguf phibuild_mlx"]
    assert loading() == ["LlamaCpp Mine", ""]
    assert loading("Mine") == ["LlamaCpp Mine", "a label", "mine"]


def test_an_edited_plugin_is_loaded_again(
    project: Project, loading: Callable[..., list[str]]
) -> None:
    loading()
    project.write("mine.py", MINE.format(builder="Other"))
    assert loading()[0] == "LlamaCpp Other"
    project.write("mine.py", "import nothing_of_the_sort")
    assert loading()[0] == "LlamaCpp"
    project.write("mine.py", MINE.format(builder="Mine"))
    assert loading()[0] == "LlamaCpp Mine"


DEEP = "[" * 5_000


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"folders": 1}', DEEP])
def test_a_memory_that_is_damaged_is_written_anew(
    project: Project, loading: Callable[..., list[str]], text: str
) -> None:
    loading()
    (memory,) = (project.folder / "plugins").iterdir()
    memory.write_text(text)
    assert loading()[0] == "LlamaCpp Mine"
    assert loading() == ["LlamaCpp Mine", ""]


def test_a_memory_with_a_changed_byte_is_not_used(
    project: Project, loading: Callable[..., list[str]]
) -> None:
    loading()
    (memory,) = (project.folder / "plugins").iterdir()
    memory.write_text(memory.read_text().replace('"Mine"', '"Gone"'))
    assert loading()[0] == "LlamaCpp Mine"


def test_a_file_at_the_path_of_the_memories_is_replaced(
    project: Project, loading: Callable[..., list[str]]
) -> None:
    project.write("plugins", "damage")
    loading()
    assert loading() == ["LlamaCpp Mine", ""]


def test_environments_that_share_a_store_keep_their_own_memories(
    project: Project, loading: Callable[..., list[str]]
) -> None:
    loading()
    alone = project.run(sys.executable, "-P", "-c", LOADED).text.splitlines()
    assert alone == ["LlamaCpp", "phibuild_gguf phibuild_mlx"]
    assert loading() == ["LlamaCpp Mine", ""]
    assert project.run(sys.executable, "-P", "-c", LOADED).text.splitlines() == ["LlamaCpp", ""]


# Plugins that the user switches off


def test_a_disabled_plugin_is_not_imported(loading: Callable[..., list[str]]) -> None:
    loading()
    disabled = {DISABLED: "mine, mlx"}
    assert loading(**disabled) == ["LlamaCpp", "phibuild_gguf"]
    assert loading(**disabled) == ["LlamaCpp", ""]  # from its own memory
    assert loading() == ["LlamaCpp Mine", ""]


def test_a_name_clash_ends_when_one_plugin_is_disabled(
    project: Project, loading: Callable[..., list[str]]
) -> None:
    project.write("mine.py", MINE.format(builder="LlamaCpp"))
    assert "both offer 'LlamaCpp'" in "".join(loading())
    assert loading(**{DISABLED: "mine"})[0] == "LlamaCpp"


def test_disabled_plugins_are_listed_as_such(project: Project) -> None:
    project.environment[DISABLED] = "onnx,onx"
    text = project.phibuild("plugins").text
    assert re.search(rf"^onnx +phibuild \S+  disabled by {DISABLED}$", text, re.MULTILINE)
    assert re.search(rf"^onx +named in {DISABLED}, but not installed$", text, re.MULTILINE)
    assert "env.GGUF" in text
    assert "env.OnnxGenAI" not in text
    assert f"disabled by {DISABLED}" in project.phibuild("doctor").text


@pytest.mark.parametrize("environment", ["env", "env.Clone()"])
def test_the_error_for_an_unknown_builder_names_the_disabled_plugins(
    project: Project, environment: str
) -> None:
    project.environment[DISABLED] = "onnx"
    project.sconstruct(f'{environment}.OnnxGenAI("dist/m", "model")\n')
    ran = project.scons()
    assert ran.status == 2
    assert "'OnnxGenAI' not found" in ran.text
    assert f"{DISABLED} disables these plugins: onnx" in ran.text


def test_the_error_for_a_missing_offer_names_the_disabled_plugins() -> None:
    registry = sort_offers([(Plugin("pdf", "dist", "1.0", is_disabled=True), None)])
    with pytest.raises(PluginError) as refusal:
        registry.evaluator("PDF")
    assert f"{DISABLED} disables pdf" in refusal.value.hint
