"""C code of the device's side under libFuzzer and sanitizers. FUZZ_RUNS=10000000 runs longer."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.firmware.tools import needed_tool

RUNS = os.environ.get("FUZZ_RUNS", "200000")


def fuzz(folder: Path, sources: Sequence[Path], seeds: Path, *, includes: Sequence[str]) -> None:
    """Compile a harness with what it tests, and fail if any input out of RUNS makes it fail."""
    program = folder / "fuzz"
    command = [
        needed_tool("clang"),
        *("-std=c99", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *includes),
        *("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"),
        *(*sources, "-o", program),
    ]
    subprocess.run(command, check=True)
    done = subprocess.run(
        [program, f"-runs={RUNS}", "-max_len=2048", "-seed=1", seeds],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"Done {RUNS} runs" in done.stdout
