"""Deltas of the backends' artifacts: folders in which one tensor changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from phibuild_delta.apply import apply_delta
from phibuild_delta.make import make_delta
from phibuild_delta.spaces import files_of

from phibuild.api import describe_artifact
from phibuild.testing.checkpoint_edits import change_tensor
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project

ARTIFACTS = {
    "gguf": 'env.GGUF("dist", phi, quant="Q4_0", split_max_size="500 KB")\n',
    "mlx": 'env.MLX("dist", phi, precision="int4")\n',
    "onnx": 'env.OnnxGenAI("dist", phi, precision="int4")\n',
    "openvino": 'env.OpenVINO("dist", phi, precision="int4")\n',
}


@pytest.mark.toolchain
@pytest.mark.parametrize("name", ARTIFACTS)
def test_one_changed_tensor_costs_about_a_tensor(
    make_project: Callable[[str], Project], name: str
) -> None:
    project = make_project(name)
    model = write_checkpoint(project.folder / "model", FAMILIES["phi-3"], seed=83)
    project.sconstruct('phi = env.PhiModel("model")\n' + ARTIFACTS[name])
    old, new = project.folder / "old", project.folder / "dist"
    ran = project.scons()
    assert ran.status == 0, ran.text
    shutil.copytree(new, old)
    change_tensor(model, "model.layers.1.mlp.down_proj.weight")
    ran = project.scons()
    assert ran.status == 0, ran.text
    delta, result = project.folder / "delta", project.folder / "result"
    make_delta(old, new, delta)
    apply_delta(old, delta, result)
    files = files_of(new)
    assert files_of(result) == files
    for file in files:
        assert (result / file.path).read_bytes() == (new / file.path).read_bytes()
    share = delta.stat().st_size / sum(file.size for file in files)
    print(f"{name}: {share:.1%}")
    assert share < 0.15
    assert_offsets_are_right(old, new)


def assert_offsets_are_right(old: Path, new: Path) -> None:
    """Of the tensors with an offset, few differ between the two artifacts, but some do."""
    before, after = describe_artifact(old), describe_artifact(new)
    assert before is not None and after is not None
    old_tensors = {tensor.name: tensor for tensor in before.tensors}
    tensors = [tensor for tensor in after.tensors if tensor.offset is not None]
    assert sum(tensor.size for tensor in tensors) > 0.9 * sum(each.size for each in after.tensors)
    differing = 0
    for tensor in tensors:
        new_bytes, old_bytes = (
            numpy.fromfile(folder / place.file, numpy.uint8, place.size, offset=place.offset or 0)
            for folder, place in ((new, tensor), (old, old_tensors[tensor.name]))
        )
        assert len(new_bytes) == tensor.size
        differing += not numpy.array_equal(new_bytes, old_bytes)
    assert 1 <= differing <= 4
