"""Overhead: `phibuild build` of one artifact against the backend's own command line.

Same checkpoint of random weights, same options, same interpreter or program, one after the other.
BENCH_BILLIONS (1.1) is the number of parameters, BENCH_ROUNDS (2) how often each is measured.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.engine.building.realize import realize_tool
from phibuild.engine.workshop import Workshop
from phibuild.model.digest import Digest
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.registry import load_registry
from phibuild.store import Store, store_root
from phibuild.testing.checkpoints import FAMILIES, random_checkpoint, write_checkpoint
from tests.backends.cases import artifact, path
from tests.bench.measure import Cost, best, cost_of
from tests.bench.sources import same_files
from tests.conftest import Project

BILLIONS = float(os.environ.get("BENCH_BILLIONS", "1.1"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "2"))
QUICK = {"mlx": 3}
"""A factor on the rounds for short runs, which other load disturbs more."""
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

Commands = Callable[[Workshop, Path, Path], tuple[tuple[str | Path, ...], ...]]


def mlx(shop: Workshop, model: Path, out: Path) -> tuple[tuple[str | Path, ...], ...]:
    options = ("-q", "--q-bits", "4", "--q-group-size", "64")
    python = shop.toolchains.python_of("mlx")
    return ((python, "-m", "mlx_lm", "convert", "--hf-path", model, "--mlx-path", out, *options),)


def onnx(shop: Workshop, model: Path, out: Path) -> tuple[tuple[str | Path, ...], ...]:
    options = ("-p", "int4", "-e", "cpu", "-c", out.with_name("cache"))
    module = "onnxruntime_genai.models.builder"
    return ((shop.toolchains.python_of("onnx"), "-m", module, "-i", model, "-o", out, *options),)


def openvino(shop: Workshop, model: Path, out: Path) -> tuple[tuple[str | Path, ...], ...]:
    program = shop.toolchains.python_of("openvino").with_name("optimum-cli")
    options = ("--weight-format", "int4", "--group-size", "64", "--ratio", "1.0")
    task = ("--task", "text-generation-with-past", "--library", "transformers")
    return ((program, "export", "openvino", "-m", model, *task, *options, out),)


def gguf(shop: Workshop, model: Path, out: Path) -> tuple[tuple[str | Path, ...], ...]:
    tool = realize_tool(shop, "llama.cpp")
    script = tool / "python" / "convert_hf_to_gguf.py"
    full = out.with_name("full.gguf")
    return (
        (shop.toolchains.python_of("gguf"), script, model, "--outfile", full, "--outtype", "auto"),
        (tool / "bin" / "llama-quantize", full, out, "Q4_K_M", str(os.cpu_count() or 1)),
    )


COMMANDS: dict[str, Commands] = {"gguf": gguf, "onnx": onnx, "openvino": openvino, "mlx": mlx}


@pytest.mark.bench
@pytest.mark.toolchain
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", COMMANDS)
def test_phibuild_costs_little_more_than_the_command_line(
    backend: str, make_project: Callable[[str], Project], tmp_path: Path
) -> None:
    shop = Workshop.of(Store(store_root()), load_registry())
    seed = time.time_ns() % (1 << 31)
    # Compiling imports and reading them from the disk happens once and is not measured.
    tiny = tmp_path / "tiny"
    write_checkpoint(tiny, FAMILIES["phi-3"], hidden=256, layers=1, seed=seed)
    _command_line(shop, backend, tiny, tmp_path / "warm")
    warm = make_project("warm-project")
    _build(warm, backend, same_files(tiny, warm.folder / "tiny"))
    _forget(shop, warm.folder / path(backend))

    model = random_checkpoint(tmp_path / "model", BILLIONS, seed=seed)
    by_hand: list[Cost] = []
    first: list[Cost] = []
    known: list[Cost] = []
    rounds = ROUNDS * QUICK.get(backend, 1)
    for number in range(rounds):
        by_hand.append(_command_line(shop, backend, model, tmp_path / f"by-hand-{number}"))
        project = make_project(f"project-{number}")
        source = same_files(model, project.folder / "tiny")
        for costs in (first, known):
            costs.append(_build(project, backend, source))
            _forget(shop, project.folder / path(backend))
    hand = best(by_hand)
    ratios = {}
    for name, costs, limit in (("first time", first, 1.15), ("source known", known, 1.05)):
        cost = best(costs)
        ratios[name] = (cost.seconds / hand.seconds, limit)
        ratios[f"{name}, memory"] = (cost.peak_bytes / hand.peak_bytes, 1.05)
        print(
            f"\nbench overhead, {backend}, {BILLIONS:g} billion parameters, {name}:"
            f" {cost.seconds / hand.seconds:.2f} x the time of the command line"
            f" ({cost.seconds:.1f} s against {hand.seconds:.1f} s, best of {rounds}; processor"
            f" {cost.processor / hand.processor:.2f} x),"
            f" {cost.peak_bytes / hand.peak_bytes:.2f} x its peak memory"
            f" ({cost.peak_bytes / 1e9:.2f} GB against {hand.peak_bytes / 1e9:.2f} GB)",
            end="",
        )
    above = {name: ratio for name, (ratio, limit) in ratios.items() if ratio > limit}
    assert not above


def _command_line(shop: Workshop, backend: str, model: Path, folder: Path) -> Cost:
    """The commands of a user, in an empty folder that is removed afterwards."""
    folder.mkdir()
    environment = {
        **OFFLINE,
        "HOME": str(folder),
        "PYTHONPYCACHEPREFIX": str(shop.store.root / "bytecode"),
    }
    costs = [
        cost_of(command, folder=folder, environment=environment)
        for command in COMMANDS[backend](shop, model, folder / "out")
    ]
    shutil.rmtree(folder)
    return Cost(
        sum(cost.seconds for cost in costs),
        sum(cost.processor for cost in costs),
        max(cost.peak_bytes for cost in costs),
    )


def _build(project: Project, backend: str, model: Path) -> Cost:
    """`phibuild build` of the artifact, which must run its actions."""
    assert model.name == "tiny", "the declaration names the folder"
    project.sconstruct(artifact(backend))
    command = (shutil.which("phibuild") or "phibuild", "build")
    cost = cost_of(command, folder=project.folder)
    log = (project.folder.parent / f"{project.folder.name}.log").read_text("utf-8")
    assert f"built     {path(backend)}" in log, log
    return cost


def _forget(shop: Workshop, target: Path) -> None:
    """Remove the artifact and all results behind it from the store and the project."""
    manifest_path = Path(f"{target}{SUFFIX}")
    manifest = Manifest.from_text(manifest_path.read_text("utf-8"), where=str(manifest_path))
    manifest_path.unlink()
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    _forget_result(shop, manifest.key)


def _forget_result(shop: Workshop, key: Digest) -> None:
    result = shop.store.recall(key)
    if result is None:  # two inputs were parts of one result
        return
    for _, needed in result.inputs:
        _forget_result(shop, needed)
    for entry in result.tree.entries:
        shop.store.object_path(entry).unlink(missing_ok=True)
    (shop.store.root / "results" / key.hex).unlink()
