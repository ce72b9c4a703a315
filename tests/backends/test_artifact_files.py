"""Toolkits that check how files are stored can load the artifacts."""

from __future__ import annotations

import shutil

import pytest

from tests.backends.cases import artifact, path
from tests.backends.conftest import Tiny
from tests.backends.slices import run_toolkit
from tests.conftest import Project

LOAD = """
import sys
import onnx
model = onnx.load(sys.argv[1])
assert any(len(tensor.raw_data) for tensor in model.graph.initializer)
print("loaded")
"""


@pytest.mark.toolchain
@pytest.mark.parametrize("link", ["", "hard"])
def test_onnx_loads_an_artifact_with_its_external_data(
    project_of_tiny: Project, tiny: Tiny, link: str
) -> None:
    """onnx refuses external data in files with several hard links."""
    tiny("phi-3", layers=1, hidden=256)
    project_of_tiny.sconstruct(artifact("onnx"))
    folder = project_of_tiny.folder / path("onnx")
    for _ in range(2):  # built, then recalled
        assert project_of_tiny.scons(PHIBUILD_LINK=link).status == 0
        assert (folder / "model.onnx.data").stat().st_size > 1 << 20, (
            "smaller files are never linked"
        )
        assert {file.stat().st_nlink for file in folder.iterdir()} == {1}
        assert run_toolkit("onnx", LOAD, folder / "model.onnx").strip() == "loaded"
        shutil.rmtree(folder)
