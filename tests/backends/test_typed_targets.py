"""A build works only for the typed targets and their inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project

TARGETS = """\
env.GGUF("a/q8.gguf", "tiny", quant="Q8_0")
env.GGUF("b/f16.gguf", "tiny", quant="F16")
env.GGUF("c/q4.gguf", "tiny", quant="Q4_0")
env.Command("firmware.txt", "a/q8.gguf", "wc -c < a/q8.gguf > $TARGET")
env.Alias("release", "b/f16.gguf")
"""


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("typed", "built"),
    [
        ("b", ["b/f16.gguf"]),
        ("b/", ["b/f16.gguf"]),
        ("./b", ["b/f16.gguf"]),
        ("release", ["b/f16.gguf"]),
        ("firmware.txt", ["a/q8.gguf"]),
        (".", ["a/q8.gguf", "b/f16.gguf", "c/q4.gguf"]),
    ],
)
def test_a_build_of_some_targets_works_for_no_others(
    tmp_path: Path, seed: int, typed: str, built: list[str]
) -> None:
    """GGUF targets of one model are built together, but only the typed ones."""
    project = Project(tmp_path)
    write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=1, seed=seed)
    project.sconstruct(TARGETS)
    ran = project.scons(typed)
    assert ran.status == 0, ran.text
    assert sorted(ran.names("built")) == built
    assert f"gguf.write, {len(built)} targets" in ran.text or len(built) == 1
    rest = {"a/q8.gguf", "b/f16.gguf", "c/q4.gguf"} - set(built)
    assert set(project.scons().names("built")) == rest
