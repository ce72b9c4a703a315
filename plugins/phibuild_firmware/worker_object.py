"""Assembles what embeds an image, by the compiler of a firmware. Names are relative, so that no path
of this machine is in the object."""

from __future__ import annotations

import subprocess

import phiworker


def main(job: phiworker.Job) -> None:
    recipe, folder = job.recipe, job.scratch
    (folder / "model.img").symlink_to(job.inputs["image"])
    (folder / "phi_model_data.S").symlink_to(job.inputs["source"])
    command = [recipe["compiler"], *recipe["flags"], "-c", "phi_model_data.S", "-o", "data.o"]
    made = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise phiworker.WorkerError(
            f"{' '.join(command)} failed:\n{made.stdout.strip()[-1000:]}",
            hint="are compiler= and compiler_flags= those of the firmware?",
        )
    (folder / "data.o").rename(job.output)


if __name__ == "__main__":
    phiworker.run(main)
