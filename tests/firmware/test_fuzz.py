"""The verifier under libFuzzer and sanitizers. FUZZ_RUNS=10000000 runs longer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from phibuild_firmware.descriptor import Descriptor

from tests.firmware.tools import needed_tool

HERE = Path(__file__).parent
DEVICE = HERE.parents[1] / "plugins" / "phibuild_firmware" / "device"
RUNS = os.environ.get("FUZZ_RUNS", "200000")


def test_no_bytes_crash_the_verifier(tmp_path: Path) -> None:
    program, seeds = tmp_path / "fuzz", tmp_path / "seeds"
    seeds.mkdir()
    descriptor = Descriptor(
        "GGUF", 0, 512, 5, b"\1" * 32, b"\2" * 32, b"\3" * 32, 512, "phi", "Q4_K_M"
    )
    for flag in (b"\0", b"\1"):
        (seeds / flag.hex()).write_bytes(flag + descriptor.to_bytes() + b"12345")
    subprocess.run(
        [
            needed_tool("clang"),
            *("-std=c99", "-g", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{DEVICE}"),
            *("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"),
            *(HERE / "fuzz_model.c", DEVICE / "phi_model.c", "-o", program),
        ],
        check=True,
    )
    done = subprocess.run(
        [program, f"-runs={RUNS}", "-max_len=2048", "-seed=1", seeds],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"Done {RUNS} runs" in done.stdout
