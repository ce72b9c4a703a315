"""`phibuild plan` predicts sizes that builds then have."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.backends.cases import CALLS, INT4, path
from tests.backends.conftest import Tiny
from tests.backends.slices import tree_of
from tests.conftest import Project

pytestmark = pytest.mark.toolchain

GGUF = {
    "f16": 'quant="F16"',
    "q8": 'precision="int8"',
    "q4": 'quant="Q4_K_M"',
    "narrow": 'quant="Q3_K_S", overrides={"attn_output": "q8_0"}',
    "pure": 'quant="Q5_0", pure=True',
    "split": 'quant="Q4_K_M", split_max_size="1 MB"',
}


def planned(project: Project) -> dict[str, dict[str, Any]]:
    """The targets of the project's plan by name."""
    ran = project.phibuild("plan", "--json")
    assert ran.status == 0, ran.text
    targets: list[dict[str, Any]] = json.loads(ran.text)["targets"]
    return {target["name"]: target for target in targets}


def size_of(project: Project, name: str) -> int:
    """Bytes of a built artifact."""
    artifact = project.folder / name
    if artifact.is_file():
        return artifact.stat().st_size
    return sum((artifact / file).stat().st_size for file in tree_of(artifact))


@pytest.mark.parametrize("family", ["phi-2", "phi-3.5", "phi-4-mini", "phi-3.5-moe"])
def test_the_size_of_a_gguf_artifact_is_known_before_it_is_built(
    project_of_tiny: Project, tiny: Tiny, family: str
) -> None:
    project = project_of_tiny
    tiny(family)
    lines = [f'env.GGUF("dist/{name}", phi, {fields})\n' for name, fields in GGUF.items()]
    project.sconstruct('phi = env.PhiModel("tiny")\n' + "".join(lines))
    plan = planned(project)
    assert all(target["standing"] == "work" for target in plan.values())
    ran = project.scons()
    assert ran.status == 0, ran.text
    for name, target in plan.items():
        assert target["size"] == {
            "bytes": size_of(project, name),
            "is_exact": True,
            "is_most": False,
        }


def test_with_an_imatrix_the_size_is_known_once_the_imatrix_is(
    project_of_tiny: Project, tiny: Tiny
) -> None:
    project = project_of_tiny
    tiny("phi-3")
    project.write("text.txt", "the quick brown fox jumps over the lazy dog " * 20)
    project.sconstruct(
        'phi = env.PhiModel("tiny")\n'
        'im = env.Imatrix("dist/im.gguf", phi, text="text.txt", ctx_size=64, chunks=1)\n'
        'env.GGUF("dist/iq", phi, quant="IQ2_XS", imatrix=im)\n'
    )
    assert planned(project)["dist/iq"]["standing"] == "wait"
    assert project.scons("dist/im.gguf").status == 0
    plan = planned(project)["dist/iq"]
    assert project.scons().status == 0
    assert plan["size"] == {
        "bytes": size_of(project, "dist/iq"),
        "is_exact": True,
        "is_most": False,
    }


@pytest.mark.parametrize("backend", ["onnx", "mlx"])
def test_other_sizes_are_those_of_the_last_artifact_of_the_recipe(
    project_of_tiny: Project, tiny: Tiny, seed: int, backend: str
) -> None:
    """Within 2 % for tensors of the same shapes: numbers in JSON differ in length."""
    project = project_of_tiny
    tiny("phi-3")
    call = CALLS[backend].format(name="m", precision="int4", more=INT4[backend])
    project.sconstruct(f'phi = env.PhiModel("tiny")\n{call}\n')
    assert project.scons().status == 0
    tiny("phi-3", seed=seed + 1)
    plan = planned(project)[path(backend)]
    assert plan["standing"] == "work"
    assert all(action["seconds"] > 0 and action["peak_bytes"] > 0 for action in plan["actions"])
    assert project.scons().status == 0
    assert plan["size"]["bytes"] == pytest.approx(size_of(project, path(backend)), rel=0.02)
    assert not plan["size"]["is_exact"]
