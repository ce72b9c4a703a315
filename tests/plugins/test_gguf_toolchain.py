"""The action that builds llama.cpp, and where its build files are."""

from __future__ import annotations

from pathlib import Path

import pytest
from phibuild_gguf.llama_cpp.build import build, build_folder

from phibuild.api import (
    FileInput,
    ToolchainError,
    find_compiler,
)
from tests.plugins.gguf_recipes import fields_of


def test_the_toolchain_is_built_from_the_pinned_source_by_a_named_compiler() -> None:
    action = build()
    assert action.toolchain == "host"
    assert action.network
    assert {*find_compiler()} < {*action.programs}
    assert not any("/" in fields_of(action)[name] for name in ("cc", "cxx"))
    names = {path.name for path in action.worker_files}
    assert {"CMakeLists.txt", "source.lock"} <= names
    assert "README.md" not in names


def test_a_checkout_is_an_input_and_needs_no_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PHIBUILD_LLAMA_CPP", str(tmp_path))
    action = build()
    assert dict(action.inputs)["checkout"] == FileInput(str(tmp_path))
    assert not action.network


def test_another_flag_is_another_toolchain(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = build()
    monkeypatch.setenv("PHIBUILD_LLAMA_CPP_FLAGS", "-DPHIBUILD_X86_64_LEVEL=2 '-DA=b c'")
    action = build()
    assert fields_of(action)["flags"] == ["-DPHIBUILD_X86_64_LEVEL=2", "-DA=b c"]
    monkeypatch.setenv("PHIBUILD_LLAMA_CPP_FLAGS", "")
    assert build() == plain != action


def test_an_incomplete_installation_says_where_it_looked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "phibuild_gguf.llama_cpp.build._PLUGIN", tmp_path / "plugins" / "phibuild_gguf"
    )
    with pytest.raises(ToolchainError, match="neither"):
        build_folder()
