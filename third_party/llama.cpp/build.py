"""Builds the pinned llama.cpp, or the user's checkout, into a folder of programs and scripts.

A worker. Inputs: `native`, the sources of phi-quantize; `checkout` (optional), a llama.cpp source
tree that replaces the pinned one. Recipe: `cc` and `cxx` (names of the compilers among the tools),
`flags` (further CMake options, optional). Output: `bin/` with the programs, `python/` with the
converter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import phiworker
from fetch import fetch_source

HERE = Path(__file__).resolve().parent
LOG_TAIL = 30
STATUS = re.compile(r"\[(\d+)/(\d+)\] ")


def main(job: phiworker.Job) -> None:
    """Fetch, configure, compile and install; writes to scratch and output only."""
    compilers = [
        f"-DCMAKE_C_COMPILER={job.tools[job.recipe['cc']]}",
        f"-DCMAKE_CXX_COMPILER={job.tools[job.recipe['cxx']]}",
    ]
    cmake, ninja = str(job.tools["cmake"]), str(job.tools["ninja"])
    source, version = _source(job)
    build = job.scratch / "build"
    prefix = job.scratch / "prefix"

    job.progress(0.1, "configuring llama.cpp")
    _run(
        [
            *(cmake, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"),
            *("-S", str(HERE), "-B", str(build), f"-DLLAMA_CPP_SOURCE_DIR={source}"),
            f"-DPHIBUILD_NATIVE_DIR={job.inputs['native']}",
            # Given explicitly: CFLAGS and LDFLAGS of the environment have no effect.
            *(f"-DCMAKE_{name}_FLAGS=" for name in ("C", "CXX", "EXE_LINKER")),
            *(*compilers, *version, *job.recipe.get("flags", ())),
        ],
        "configure",
    )

    def show(line: str) -> None:
        if status := STATUS.match(line):
            done, total = int(status[1]), int(status[2])
            job.progress(0.13 + 0.86 * done / total, f"compiling llama.cpp, {done} of {total}")

    command = [ninja, "-C", str(build), "-j", str(job.threads), "phibuild"]
    _run(command, "compile", on_line=show, environment={"NINJA_STATUS": "[%f/%t] "})

    job.progress(0.99, "installing llama.cpp")
    component = ["--component", "phibuild", "--strip", "--prefix", str(prefix)]
    _run([cmake, "--install", str(build), *component], "install")
    shutil.move(prefix, job.output)


def _source(job: phiworker.Job) -> tuple[Path, list[str]]:
    """The source tree, and the CMake options that set the version its programs print."""
    if "checkout" in job.inputs:
        return job.inputs["checkout"], []
    lock = tomllib.loads((HERE / "source.lock").read_text("utf-8"))
    job.progress(None, f"fetching llama.cpp ({lock['name']} {lock['version']})")
    source = fetch_source(lock, scratch=job.scratch)
    return source, [
        f"-DLLAMA_BUILD_NUMBER={lock['build_number']}",
        f"-DLLAMA_BUILD_COMMIT={lock['commit'][:9]}",
    ]


def _run(
    command: list[str],
    stage: str,
    *,
    on_line: Callable[[str], None] = lambda line: None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program and copy its output to the log; WorkerError PHI603 with the last lines."""
    tail: deque[str] = deque(maxlen=LOG_TAIL)
    with subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            tail.append(line)
            on_line(line)
    if process.returncode != 0:
        raise phiworker.WorkerError(
            f"llama.cpp: {stage} failed\n{''.join(tail).rstrip()}",
            hint="third_party/llama.cpp/README.md lists what the build needs and its options",
            code="PHI603",
        )


if __name__ == "__main__":
    phiworker.run(main)
