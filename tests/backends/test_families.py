"""Every family builds and generates with every backend, or is refused with a hint."""

from __future__ import annotations

import pytest

from tests.backends.cases import CALLS, artifact, path
from tests.backends.conftest import Tiny
from tests.conftest import Project

pytestmark = pytest.mark.toolchain
FAMILY_NAMES = ("phi-2", "phi-3", "phi-3.5", "phi-4-mini", "phi-3.5-moe")
REFUSED = {("phi-3.5-moe", "onnx"): "PHI204"}
ASK = 'env.Generate("build/answer.txt", a, prompt="Hello", max_tokens=3)\n'


@pytest.mark.parametrize("backend", CALLS)
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_family_builds_and_generates(
    project_of_tiny: Project, tiny: Tiny, family: str, backend: str
) -> None:
    tiny(family)
    project_of_tiny.sconstruct(artifact(backend) + ASK)
    ran = project_of_tiny.scons()
    code = REFUSED.get((family, backend))
    if code is not None:
        assert ran.status == 2
        assert f"[{code}]" in ran.text
        assert "hint:" in ran.text
        assert ran.actions == []
    else:
        assert ran.status == 0, ran.text
        assert f"{path(backend)} generated in its own runtime" in ran.text


@pytest.mark.parametrize("backend", CALLS)
@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_every_precision_builds_and_generates(
    project_of_tiny: Project, tiny: Tiny, precision: str, backend: str
) -> None:
    tiny("phi-3")
    project_of_tiny.sconstruct(artifact(backend, precision) + ASK)
    ran = project_of_tiny.scons()
    assert ran.status == 0, ran.text
    assert "generated in its own runtime" in ran.text


@pytest.mark.parametrize("backend", CALLS)
def test_spelling_and_sharding_give_the_same_artifact(
    project_of_tiny: Project, tiny: Tiny, backend: str
) -> None:
    """Another spelling and other shards have the same slices, so the digests must be equal."""
    tiny("phi-3.5")
    tiny("phi-3.5", "other", spelling="transformers5", shards=3)
    project_of_tiny.sconstruct(
        artifact(backend) + artifact(backend).replace("tiny", "other").replace("dist/", "more/")
    )
    ran = project_of_tiny.scons()
    assert ran.status == 0, ran.text
    first, second = (
        (project_of_tiny.folder / folder / f"{path(backend).split('/')[1]}.phi.json").read_text()
        for folder in ("dist", "more")
    )
    assert [line for line in first.splitlines() if '"digest"' in line] == [
        line for line in second.splitlines() if '"digest"' in line
    ]
