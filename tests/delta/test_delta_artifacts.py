"""Deltas of what the backends really make: folders, one tensor of which changed."""

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
    delta, made = project.folder / "delta", project.folder / "made"
    make_delta(old, new, delta)
    apply_delta(old, delta, made)
    files = files_of(new)
    assert files_of(made) == files
    for one in files:
        assert (made / one.path).read_bytes() == (new / one.path).read_bytes()
    share = delta.stat().st_size / sum(one.size for one in files)
    print(f"{name}: {share:.1%}")
    assert share < 0.15
    assert_tensors_lie_where_they_are_said_to(old, new)


def assert_tensors_lie_where_they_are_said_to(old: Path, new: Path) -> None:
    """Of those with a place, few differ between the two artifacts, and they are not all zeros."""
    one, other = describe_artifact(old), describe_artifact(new)
    assert one is not None and other is not None
    placed = [tensor for tensor in other.tensors if tensor.offset is not None]
    assert sum(tensor.size for tensor in placed) > 0.9 * sum(one.size for one in other.tensors)
    before = {tensor.name: tensor for tensor in one.tensors}
    differing = 0
    for tensor in placed:
        content, known = (
            numpy.fromfile(folder / which.file, numpy.uint8, which.size, offset=which.offset or 0)
            for folder, which in ((new, tensor), (old, before[tensor.name]))
        )
        assert len(content) == tensor.size
        differing += not numpy.array_equal(content, known)
    assert 1 <= differing <= 4
