"""Every checkpoint of the table, in every format, is right or refused; none is built wrong.

Right: the artifact's results in its own runtime equal transformers' float32 logits of the same
checkpoint within a stated tolerance. Refused: when the SConstruct is read, with a code and a hint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.backends.fault_table import Cell, forget, table
from tests.backends.faults import FAULTS, FORMATS
from tests.backends.slices import store_with_llama_cpp
from tests.conftest import Project

BY_CODE = {
    "PHI107": "head missing",
    "PHI108": "NaN in a matrix",
    "PHI109": "token beyond in tokenizer.json",
    "PHI103": "linear rope of phi3",
    "PHI204": "another activation of phi",
}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Cell]]:
    """All cells, from an empty store."""
    place = tmp_path_factory.mktemp("faults")
    folder = place / "project"
    folder.mkdir()
    project = Project(folder, {"PHIBUILD_STORE": str(store_with_llama_cpp(place / "store"))})
    yield table(project, FAULTS)
    forget(place)


@pytest.mark.toolchain
def test_no_artifact_is_built_wrong(cells: list[Cell], capsys: pytest.CaptureFixture[str]) -> None:
    count = Counter(cell.outcome for cell in cells)
    with capsys.disabled():
        print(
            f"\n{len(FAULTS)} checkpoints x {len(FORMATS)} formats: {count['right']} right,"
            f" {count['limited']} right except for a limit of the runtime,"
            f" {count['refused']} refused, {count['wrong']} wrong"
        )
    assert [cell for cell in cells if cell.outcome == "wrong"] == []


@pytest.mark.toolchain
def test_formats_refuse_only_what_they_cannot_compute(cells: list[Cell]) -> None:
    expected = {fault.name: fault.right for fault in FAULTS}
    assert [
        cell
        for cell in cells
        if (cell.outcome == "refused") == (cell.format in expected[cell.fault])
    ] == []


@pytest.mark.parametrize("code", BY_CODE)
def test_a_refusal_ends_the_build_before_anything_runs(project: Project, code: str) -> None:
    fault = next(fault for fault in FAULTS if fault.name == BY_CODE[code])
    fault.write(project.folder / "tiny")
    project.sconstruct('env.GGUF("dist/tiny.gguf", env.PhiModel("tiny"), quant="F32")\n')
    ran = project.scons()
    assert ran.status == 2
    assert f"[{code}]" in ran.text
    assert "hint: " in ran.text
    assert "Traceback" not in ran.text
    assert ran.actions == []
    assert not (project.folder / "dist").exists()


def test_faults_have_names_of_their_own() -> None:
    assert Counter(fault.name for fault in FAULTS).most_common(1)[0][1] == 1
