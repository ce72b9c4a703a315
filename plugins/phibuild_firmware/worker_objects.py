"""Compiles the sources that embed a model and check it, with the compiler of the firmware."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import phiworker

_SOURCES = ("phi_model_data.S", "phi_model.c")


def main(job: phiworker.Job) -> None:
    compiler, flags = job.recipe["compiler"], job.recipe["flags"]
    folder = job.scratch / "sources"
    shutil.copytree(job.inputs["sources"], folder)
    (folder / "model.img").symlink_to(job.inputs["image"])
    job.output.mkdir()
    for source in _SOURCES:
        output = Path(source).with_suffix(".o").name
        command = [str(job.tools[compiler]), "-std=c99", "-Os", "-ffreestanding", *flags]
        if source.endswith(".S"):
            command.append("-g0")  # clang 14 does not map its path
        # Keeps this folder's path and, with -flto, a random number out of the object.
        command += [f"-ffile-prefix-map={folder}=.", f"-frandom-seed={source}", "-c", source]
        done = subprocess.run(
            [*command, "-o", str(job.output / output)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        print(done.stdout)
        if done.returncode != 0:
            raise phiworker.WorkerError(
                f"{compiler} {' '.join(flags)} cannot compile {source}:"
                f" {done.stdout.strip()[:500]}",
                hint="compiler_flags are those of your firmware, such as -mcpu=cortex-m3 -mthumb",
            )


if __name__ == "__main__":
    phiworker.run(main)
