"""Packs a model as an EROFS image whose bytes depend on the model and on mkfs.erofs only."""

import shutil
import subprocess

import phiworker


def main(job: phiworker.Job) -> None:
    folder = job.scratch / "files"
    folder.mkdir()
    shutil.copyfile(job.inputs["model"], folder / "model.gguf")
    (folder / "model.gguf").chmod(0o444)
    folder.chmod(0o555)
    fixed = ["-T", "0", "--all-root", "-U", "00000000-0000-0000-0000-000000000000"]
    subprocess.run(["mkfs.erofs", "--quiet", *fixed, job.output, folder], check=True)


phiworker.run(main)
