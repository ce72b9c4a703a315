"""Updates over the air: a model whose every weight moved by 0.1 % and was quantized again."""

from __future__ import annotations

import json
import shutil
import struct
import time
from pathlib import Path

import numpy
import pytest
from phibuild_firmware.delta.apply import apply_delta
from phibuild_firmware.delta.make import make_delta

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.bench.measure import cost_of
from tests.conftest import Project
from tests.firmware.tools import needed_tool

TYPES = ("Q4_0", "Q8_0", "Q4_K_M", "Q6_K")


@pytest.mark.bench
@pytest.mark.toolchain
@pytest.mark.timeout(3600)
def test_a_model_that_moved_a_little_is_a_small_update(tmp_path: Path) -> None:
    zstd, xdelta = needed_tool("zstd"), needed_tool("xdelta3")
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    seed = time.time_ns() % (1 << 31)
    options = {"hidden": 2048, "layers": 4, "vocab": 4096, "seed": seed, "dtype": "f32"}
    old = write_checkpoint(project.folder / "old", FAMILIES["phi-3"], **options)  # type: ignore[arg-type]
    moved(shutil.copytree(old, project.folder / "new"), seed)
    project.sconstruct(
        "".join(
            f'env.GGUF("dist/{name}-{kind}.gguf", env.PhiModel("{name}"), quant="{kind}")\n'
            for kind in TYPES
            for name in ("old", "new")
        )
    )
    ran = project.scons()
    assert ran.status == 0, ran.text
    shares = {}
    for kind in TYPES:
        before, after = (project.folder / "dist" / f"{name}-{kind}.gguf" for name in ("old", "new"))
        whole = after.stat().st_size
        delta, made = tmp_path / "delta", tmp_path / "made"
        start = time.monotonic()
        make_delta(before, after, delta)
        make_seconds = time.monotonic() - start
        start = time.monotonic()
        apply_delta(before, delta, made)
        apply_seconds = time.monotonic() - start
        assert made.read_bytes() == after.read_bytes()
        others = {}
        for name, command in {
            "zstd --patch-from": (
                *(zstd, "-q", "-f", "-19", "--long=31", f"--patch-from={before}", after),
                *("-o", tmp_path / "other"),
            ),
            "xdelta3": (
                *(xdelta, "-f", "-e", "-9", "-B", str(1 << 30), "-s", before, after),
                tmp_path / "other",
            ),
        }.items():
            cost_of(command, folder=project.folder)
            others[name] = (tmp_path / "other").stat().st_size / whole
        shares[kind] = delta.stat().st_size / whole
        compared = ", ".join(f"{name} {share:.1%}" for name, share in others.items())
        print(
            f"\nbench delta, {kind}, {whole / 1e6:.0f} MB: {shares[kind]:.2%} of the new file"
            f" ({compared}); made at {whole / 1e6 / make_seconds:.0f} MB/s, applied at"
            f" {whole / 1e6 / apply_seconds:.0f} MB/s",
            end="",
        )
        assert whole / 1e6 / apply_seconds >= 100
    assert shares["Q4_0"] <= 0.03


def moved(folder: Path, seed: int) -> None:
    """Move each weight by 0.1 % of itself, up or down, in place."""
    random = numpy.random.default_rng(seed)
    for path in folder.glob("*.safetensors"):
        with path.open("r+b") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
            for name, one in header.items():
                if name == "__metadata__":
                    continue
                assert one["dtype"] == "F32"
                begin, end = one["data_offsets"]
                file.seek(8 + length + begin)
                weights = numpy.frombuffer(file.read(end - begin), numpy.float32)
                sign = random.integers(0, 2, weights.shape, numpy.int8) * 2 - 1
                file.seek(8 + length + begin)
                file.write((weights * (1 + numpy.float32(0.001) * sign)).tobytes())
