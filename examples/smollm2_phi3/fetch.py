"""Downloads a pinned wheel with the user's pip, and checks its digest.

Recipe: `requirement` (``NAME==VERSION``) and `sha256` (hex). The output is the wheel, a file.
pip rather than a URL, so that the user's indexes, proxies and certificates apply.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import phiworker

_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9._+!-]*")


def main(job: phiworker.Job) -> None:
    requirement = job.recipe["requirement"]
    job.progress(None, f"downloading {requirement}")
    wheel = download(requirement, job.scratch / "wheels")
    refuse_other_bytes(wheel, job.recipe["sha256"], requirement)
    shutil.move(wheel, job.output)


def download(requirement: str, folder: Path) -> Path:
    """The path in `folder` of the only wheel that pip downloads for `requirement`."""
    if not _PINNED.fullmatch(requirement):
        raise phiworker.WorkerError(
            f"{requirement!r} does not pin one version of one package",
            hint="write the requirement as NAME==VERSION",
            code="PHI110",
        )
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
    pip = subprocess.run(
        [*command, requirement],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    print(pip.stdout, flush=True)
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        raise phiworker.WorkerError(
            f"{requirement} could not be downloaded: {_last_error(pip.stdout)}",
            hint=f"check that `{sys.executable} -m pip download {requirement}` works: "
            "network, index settings (`pip config list`), pip itself",
            code="PHI110",
        )
    return wheels[0]


def refuse_other_bytes(wheel: Path, sha256: str, requirement: str) -> None:
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sha256.lower():
        raise phiworker.WorkerError(
            f"{requirement} has the sha256 {digest}, but {sha256} is pinned",
            hint="the index serves another file than the reviewed one: find out why before you "
            "change the pin",
            code="PHI111",
        )


def _last_error(log: str) -> str:
    """pip's last line that names an error; its very last line may be a notice."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip printed nothing"])[-1]


if __name__ == "__main__":
    phiworker.run(main)
