"""Builds the pinned llama.cpp, or a checkout of the user's, into a folder of programs and scripts.

A worker. Inputs: `native`, the sources of phibuild's own program; `checkout`, a llama.cpp source
tree, in place of the pinned one. Recipe: `cc` and `cxx` (compilers) and `flags` (further CMake
options), all optional. Output: `bin/` with the
programs, `python/` with the converter.
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
NEEDS_CMAKE = "pip install 'cmake>=3.25' ninja"


def main(job: phiworker.Job) -> None:
    """Fetch, configure, compile, install; nothing is written outside of scratch and output."""
    compilers = [
        f"-DCMAKE_{language}_COMPILER={_compiler(job.recipe.get(name), *usual)}"
        for language, name, usual in (
            ("C", "cc", ("cc", "gcc", "clang")),
            ("CXX", "cxx", ("c++", "g++", "clang++")),
        )
    ]
    cmake, ninja = _program("cmake"), _program("ninja")
    source, version = _source(job)
    build = job.scratch / "build"
    prefix = job.scratch / "prefix"

    job.progress(0.1, "configuring llama.cpp")
    _run(
        [
            *(cmake, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"),
            *("-S", str(HERE), "-B", str(build), f"-DLLAMA_CPP_SOURCE_DIR={source}"),
            f"-DPHIBUILD_NATIVE_DIR={job.inputs['native']}",
            # Given explicitly, CFLAGS and LDFLAGS of the environment have no say.
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
    """The source tree, and the options by which its programs know their version."""
    if "checkout" in job.inputs:
        return job.inputs["checkout"], []
    lock = tomllib.loads((HERE / "source.lock").read_text("utf-8"))
    job.progress(None, f"fetching llama.cpp ({lock['name']} {lock['version']})")
    source = fetch_source(lock, scratch=job.scratch)
    return source, [
        f"-DLLAMA_BUILD_NUMBER={lock['build_number']}",
        f"-DLLAMA_BUILD_COMMIT={lock['commit'][:9]}",
    ]


def _compiler(named: str | None, *usual: str) -> str:
    names = (named,) if named else usual
    for name in names:
        if found := shutil.which(name):
            return found
    raise phiworker.WorkerError(
        f"no compiler was found: {', '.join(names)}",
        hint="install one (Debian: apt install g++; macOS: xcode-select --install),"
        " or set CC and CXX",
        code="PHI601",
    )


def _program(name: str) -> str:
    """The interpreter's own (PyPI has both), else the first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    if found is None:
        raise phiworker.WorkerError(f"no {name} was found", hint=NEEDS_CMAKE, code="PHI603")
    return found


def _run(
    command: list[str],
    stage: str,
    *,
    on_line: Callable[[str], None] = lambda line: None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a program, copy what it says to the log; WorkerError PHI603 with the end of it."""
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
