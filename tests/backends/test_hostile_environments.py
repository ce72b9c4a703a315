"""Artifacts have the same keys and bytes in every environment."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.backends.cases import CALLS, INT4, path
from tests.backends.conftest import Tiny
from tests.backends.slices import store_with_llama_cpp
from tests.conftest import Project
from tests.environments import Hostile, hostile, in_environment

pytestmark = pytest.mark.toolchain


def manifests(project: Project) -> dict[str, str]:
    """The manifests of the four artifacts: their keys and the digests of their files."""
    return {
        backend: (project.folder / f"{path(backend)}.phi.json").read_text() for backend in CALLS
    }


def test_no_environment_changes_a_key_or_a_byte(
    project_of_tiny: Project, tiny: Tiny, tmp_path: Path
) -> None:
    """Built twice, in stores that share no result: normally, and in all ten environments at once on
    one core. In each of the ten, nothing runs afterwards."""
    tiny("phi-3", hidden=512, layers=2)
    lines = [
        CALLS[backend].format(name="m", precision="int4", more=INT4[backend]) for backend in CALLS
    ]
    project_of_tiny.sconstruct('phi = env.PhiModel("tiny")\n' + "\n".join(lines) + "\n")
    folder = project_of_tiny.folder
    calm = Project(folder, {"PHIBUILD_STORE": str(store_with_llama_cpp(tmp_path / "calm"))})
    ran = calm.scons()
    assert ran.status == 0, ran.text
    built = manifests(calm)

    here = hostile(tmp_path / "hostile")
    together = Hostile(
        {
            name: text
            for environment in here.values()
            for name, text in environment.variables.items()
        },
        shell="; ".join(environment.shell for environment in here.values()),
        cores="0",
    )
    other = Project(folder, {"PHIBUILD_STORE": str(store_with_llama_cpp(tmp_path / "other"))})
    shutil.rmtree(folder / "dist")
    ran = in_environment(other, together)
    assert ran.status == 0, ran.text
    assert len(ran.names("built")) == len(CALLS)
    assert manifests(other) == built
    customized = (tmp_path / "hostile" / "customized").read_text()
    assert "worker" not in customized

    for kind, environment in here.items():
        ran = in_environment(other, environment)
        assert (ran.status, ran.actions) == (0, []), f"{kind}: {ran.text}"
