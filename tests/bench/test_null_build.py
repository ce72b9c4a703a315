"""A build with nothing to do: its cost against bare SCons, and per artifact.

Four checkpoints of 2 GB each, five artifacts of each, through the real builders. Nothing is
converted: the first build recalls results that are recorded here under the engine's keys, which
leaves everything as after a real build.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from phibuild.engine.workshop import Workshop
from phibuild.registry import load_registry
from phibuild.store import Store
from tests.bench.measure import Cost, best, cost_of
from tests.bench.seeding import seed_artifact
from tests.bench.sources import hollow_checkpoint
from tests.conftest import Project

LIMIT = 1.5
ROUNDS = 7
MODELS = 4
ARTIFACTS = (
    ("GGUF", "gguf", {"quant": "Q4_K_M"}),
    ("GGUF", "gguf", {"quant": "Q8_0"}),
    ("OnnxGenAI", "onnx", {"precision": "int4", "execution_provider": "cpu"}),
    ("OpenVINO", "ov", {"precision": "int4", "group_size": 64}),
    ("MLX", "mlx", {"precision": "int4", "group_size": 64}),
)
SCONS = (sys.executable, "-P", "-m", "SCons", "-Q")
NOTHING = "scons: `.' is up to date.\n"


def sconstruct(count: int) -> str:
    """Declare that many artifacts, grouped by model."""
    lines = []
    for number in range(count):
        model = number % MODELS
        builder, name, fields = ARTIFACTS[number // MODELS % len(ARTIFACTS)]
        keywords = "".join(f", {field}={value!r}" for field, value in fields.items())
        if number < MODELS:
            lines.append(f'm{model} = env.PhiModel("model-{model}")\n')
        lines.append(f'env.{builder}("dist/{name}-{number}", m{model}{keywords})\n')
    return "".join(lines)


@pytest.fixture
def sources(project: Project) -> Project:
    """A project with checkpoints whose digests are known, and results in its store."""
    shop = Workshop.of(Store(Path(project.environment["PHIBUILD_STORE"])), load_registry())
    for model in range(MODELS):
        folder = hollow_checkpoint(project.folder / f"model-{model}", 1.1, mark=model)
        checkpoint = shop.sources.checkpoint(folder)
        for builder, _, fields in ARTIFACTS:
            seed_artifact(shop, checkpoint, builder, fields)
    shop.store.index.close()
    return project


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_a_null_build_costs_little_more_than_scons(sources: Project, tmp_path: Path) -> None:
    bare_folder = tmp_path / "bare"
    bare_folder.mkdir()
    (bare_folder / "SConstruct").write_text("Environment()\n", "utf-8")
    gigabytes = sum(path.stat().st_size for path in sources.folder.glob("*/*.safetensors")) / 1e9
    ratios = {}
    for count in (20, 200, 1000):
        sources.sconstruct(sconstruct(count))
        first = sources.scons("-s")
        assert first.status == 0, first.text
        again = sources.scons()
        assert (again.status, again.text) == (0, NOTHING), again.text
        bare: list[Cost] = []
        null: list[Cost] = []
        for _ in range(ROUNDS):
            bare.append(cost_of(SCONS, folder=bare_folder))
            null.append(cost_of(SCONS, folder=sources.folder, environment=sources.environment))
        bare_cost, null_cost = best(bare), best(null)
        ratios[count] = null_cost.seconds / bare_cost.seconds
        extra = (null_cost.seconds - bare_cost.seconds) / count * 1e3
        print(
            f"\nbench null build, {count} artifacts over {gigabytes:.1f} GB:"
            f" {ratios[count]:.2f} x bare SCons ({null_cost.seconds:.2f} s against"
            f" {bare_cost.seconds:.2f} s, best of {ROUNDS}; processor"
            f" {null_cost.processor / bare_cost.processor:.2f} x); {extra:.2f} ms per artifact",
            end="",
        )
    assert ratios[20] <= LIMIT
