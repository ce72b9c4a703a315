"""Updates over the air: a model after every weight changed by 0.1 %, quantized again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from phibuild_delta.apply import apply_delta
from phibuild_delta.make import make_delta

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.bench.measure import cost_of
from tests.conftest import Project

TYPES = ("Q4_0", "Q8_0", "Q4_K_M", "Q6_K")


@pytest.mark.bench
@pytest.mark.toolchain
@pytest.mark.timeout(3600)
def test_a_slightly_changed_model_is_a_small_update(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    seed = time.time_ns() % (1 << 31)
    # With this vocabulary the output, in Q6_K, has the same share as in Phi-3.5-mini.
    options = {"hidden": 2048, "layers": 4, "vocab": 3070, "seed": seed, "dtype": "f32"}
    old = write_checkpoint(project.folder / "old", FAMILIES["phi-3"], **options)  # type: ignore[arg-type]
    change_weights(shutil.copytree(old, project.folder / "new"), seed)
    project.sconstruct(
        "".join(
            f'env.GGUF("dist/{name}-{kind}.gguf", env.PhiModel("{name}"), quant="{kind}")\n'
            for kind in TYPES
            for name in ("old", "new")
        )
    )
    ran = project.scons()
    assert ran.status == 0, ran.text
    shares, speeds = {}, {}
    for kind in TYPES:
        before, after = (project.folder / "dist" / f"{name}-{kind}.gguf" for name in ("old", "new"))
        delta, applied = tmp_path / "delta", tmp_path / "applied"
        whole = after.stat().st_size
        make_seconds = seconds(make_delta, before, after, delta)
        apply_seconds = seconds(apply_delta, before, delta, applied)
        digest_seconds = seconds(lambda path: hashlib.sha256(path.read_bytes()), after)
        assert applied.read_bytes() == after.read_bytes()
        applied.unlink()
        shares[kind], speeds[kind] = delta.stat().st_size / whole, apply_seconds / digest_seconds
        print(
            f"\nbench delta, {kind}, {whole / 1e6:.0f} MB: {shares[kind]:.2%} of the new file"
            f" ({others(before, after, tmp_path / 'other')}); built at"
            f" {whole / 1e6 / make_seconds:.0f} MB/s, applied at"
            f" {whole / 1e6 / apply_seconds:.0f} MB/s, {speeds[kind]:.1f} times a SHA-256 of it",
            end="",
            flush=True,
        )
    assert shares["Q4_0"] <= 0.03
    # It digests three times: the old bytes, each window, and the new ones.
    assert max(speeds.values()) <= 15


def seconds(run: Callable[..., object], *arguments: Path) -> float:
    """The seconds that the call takes."""
    os.sync()
    start = time.monotonic()
    run(*arguments)
    return time.monotonic() - start


def others(before: Path, after: Path, output: Path) -> str:
    """The results of other tools, and which of them are not installed."""
    commands = {
        "zstd --patch-from": (
            *(
                "zstd",
                "-q",
                "-f",
                "-19",
                "--long=31",
                f"--patch-from={before}",
                after,
                "-o",
                output,
            ),
        ),
        "xdelta3": ("xdelta3", "-f", "-e", "-9", "-B", str(1 << 30), "-s", before, after, output),
    }
    results = []
    for name, command in commands.items():
        if shutil.which(str(command[0])) is None:
            results.append(f"{name} is not installed")
            continue
        cost_of(command, folder=after.parent)
        results.append(f"{name} {output.stat().st_size / after.stat().st_size:.1%}")
    return ", ".join(results)


def change_weights(folder: Path, seed: int) -> None:
    """Change each weight by 0.1 % of itself, up or down, in place."""
    random = numpy.random.default_rng(seed)
    for path in folder.glob("*.safetensors"):
        with path.open("r+b") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                assert entry["dtype"] == "F32"
                begin, end = entry["data_offsets"]
                file.seek(8 + length + begin)
                weights = numpy.frombuffer(file.read(end - begin), numpy.float32)
                sign = random.integers(0, 2, weights.shape, numpy.int8) * 2 - 1
                file.seek(8 + length + begin)
                file.write((weights * (1 + numpy.float32(0.001) * sign)).tobytes())
