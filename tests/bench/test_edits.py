"""The cost of an edit, against a clean build and against llama.cpp's own two programs.

One checkpoint of random weights, BENCH_BILLIONS (1.1) of them; each command runs once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from phibuild.engine.building.realize import realize_tool
from phibuild.engine.workshop import Workshop
from phibuild.registry import load_registry
from phibuild.store import Store, store_root
from phibuild.store.copying import Way, way_to
from phibuild.testing.checkpoint_edits import change_tensor, reshard, set_chat_template
from phibuild.testing.checkpoints import random_checkpoint
from tests.backends.cases import CALLS, INT4, path
from tests.bench.measure import Cost, cost_of
from tests.conftest import Project

BILLIONS = float(os.environ.get("BENCH_BILLIONS", "1.1"))
LADDER = ("Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0")
TEMPLATES = 3
SCONS = (sys.executable, "-P", "-m", "SCons", "-Q")
MODEL = 'phi = env.PhiModel("tiny")\n'
A_TENSOR = "model.layers.0.self_attn.o_proj.weight"

pytestmark = [pytest.mark.bench, pytest.mark.toolchain, pytest.mark.timeout(3600)]


@pytest.fixture
def project(make_project: Callable[[str], Project]) -> Project:
    """A project with a new checkpoint."""
    project = make_project("project")
    random_checkpoint(project.folder / "tiny", BILLIONS, seed=time.time_ns() % (1 << 31))
    return project


def build(project: Project, *, actions: Sequence[str] | None = None) -> Cost:
    """Run `scons`; exactly these actions must run, or any if None."""
    cost = cost_of(SCONS, folder=project.folder, environment=project.environment)
    log = (project.folder.parent / f"{project.folder.name}.log").read_text("utf-8")
    lines = [line.split() for line in log.splitlines() if line.startswith("working")]
    ran = [words[2].strip("(),") for words in lines if words[1] not in ("toolchain", "read")]
    assert ran if actions is None else sorted(ran) == sorted(actions), log
    return cost


def by_hand(project: Project, tmp_path: Path, *types: str) -> list[Cost]:
    """Convert once, quantize to each of the types."""
    shop = Workshop.of(Store(store_root()), load_registry())
    tool = realize_tool(shop, "llama.cpp")
    full = tmp_path / "full.gguf"
    script = tool / "python" / "convert_hf_to_gguf.py"
    folder = tmp_path / "by-hand"
    folder.mkdir()
    model = project.folder / "tiny"
    costs = [
        cost_of(
            (shop.toolchains.python_of("gguf"), script, model, "--outfile", full), folder=folder
        )
    ]
    threads = str(os.cpu_count() or 1)
    for name in types:
        out = tmp_path / f"{name}.gguf"
        command = (tool / "bin" / "llama-quantize", full, out, name, threads)
        costs.append(cost_of(command, folder=folder))
        out.unlink()
    full.unlink()
    return costs


def report(subject: str, cost: float, other: float, against: str) -> float:
    """Print a ratio and return it."""
    ratio = cost / other
    print(f"\nbench edits, {BILLIONS:g} billion parameters, {subject}:", end="")
    print(f" {ratio:.3f} x {against} ({cost:.2f} s against {other:.2f} s)", end="")
    return ratio


@contextlib.contextmanager
def disk_space_used(folder: Path) -> Iterator[list[int]]:
    """The peak of bytes used on a file system, measured ten times a second: correct if nobody else
    writes."""
    before = shutil.disk_usage(folder).free
    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], before - shutil.disk_usage(folder).free)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peak
    finally:
        done.set()
        watching.join()


def unseen_template() -> str:
    """A new chat template: metadata is the same for all random weights."""
    return f"{{{{ messages[0]['content'] }}}} {time.time_ns()}"


def test_a_gguf_file_and_its_edits(project: Project, tmp_path: Path) -> None:
    hand = by_hand(project, tmp_path, "Q4_K_M")
    seconds = sum(cost.seconds for cost in hand)
    project.sconstruct(MODEL + 'env.GGUF("dist/m.gguf", phi, quant="Q4_K_M")\n')
    clean = build(project)
    two = "convert + llama-quantize"
    ratios = {"clean": (report("clean Q4_K_M", clean.seconds, seconds, two), 0.85)}
    peak = max(cost.peak_bytes for cost in hand)
    ratios["memory"] = (clean.peak_bytes / peak, 1.0)
    print(f"; peak memory {clean.peak_bytes / 1e9:.2f} GB against {peak / 1e9:.2f} GB", end="")

    checkpoint = project.folder / "tiny"
    change_tensor(checkpoint, A_TENSOR)
    tensor = build(project, actions=["gguf.write"])
    ratios["tensor"] = (report("one tensor changed", tensor.seconds, seconds, two), 0.10)

    copies, edits = [], []
    for _ in range(TEMPLATES):
        os.sync()  # as before each build
        start = time.monotonic()
        shutil.copyfile(project.folder / "dist" / "m.gguf", tmp_path / "copy")
        copies.append(time.monotonic() - start)
        (tmp_path / "copy").unlink()
        set_chat_template(checkpoint, unseen_template())
        edits.append(build(project, actions=["gguf.metadata", "gguf.write"]).seconds)
    against = f"a copy of the file and 1 s, best of {TEMPLATES},"
    ratios["template"] = report("template edit, GGUF", min(edits), 1 + min(copies), against), 1.0

    reshard(checkpoint, 3)
    other_shards = build(project, actions=[])
    print(f"\nbench edits, other shards: nothing runs, {other_shards.seconds:.2f} s", end="")
    assert not {name: ratio for name, (ratio, limit) in ratios.items() if ratio > limit}


def test_a_ladder_of_file_types(project: Project, tmp_path: Path) -> None:
    hand = sum(cost.seconds for cost in by_hand(project, tmp_path, *LADDER))
    lines = [f'env.GGUF("dist/{name}.gguf", phi, quant="{name}")\n' for name in LADDER]
    project.sconstruct(MODEL + "".join(lines))
    with disk_space_used(store_root()) as used:
        ours = build(project).seconds
    ratio = report(f"{len(LADDER)} file types", ours, hand, "converting once and six quantizers")
    size = sum((project.folder / "dist" / f"{name}.gguf").stat().st_size for name in LADDER)
    way = way_to(project.folder, source=project.folder / "SConstruct")
    print(f"; at most {used[0] / size:.3f} x their size on the disk, by {way.value}", end="")
    assert ratio <= 0.6
    assert used[0] <= (2.1 if way is Way.COPY else 1.1) * size


def test_a_template_edit_of_all_formats(project: Project) -> None:
    calls = (
        CALLS[name].format(name="m", precision="int4", more=INT4[name]) + "\n" for name in CALLS
    )
    project.sconstruct(MODEL + "".join(calls))
    clean = build(project)
    set_chat_template(project.folder / "tiny", unseen_template())
    sidecars = ["gguf.metadata", "gguf.write", *(f"{n}.sidecar" for n in CALLS if n != "gguf")]
    edit = build(project, actions=sidecars)
    ratio = report("template edit, four formats", edit.seconds, clean.seconds, "the clean build")
    assert all((project.folder / path(name)).exists() for name in CALLS)
    assert ratio <= 0.03
    assert edit.seconds <= 5
