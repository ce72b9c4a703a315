"""Builds EROFS and squashfs images: only the names and bytes of the files decide the result."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import phiworker

_NO_UUID = "00000000-0000-0000-0000-000000000000"


def file_system(job: phiworker.Job, files: list[tuple[str, Path]], kind: str) -> Path:
    """A file with a file system that holds these files, by their names in it."""
    folder, output = job.scratch / "files", job.scratch / kind
    stage(files, folder)
    command = erofs(job, folder, output) if kind == "erofs" else squashfs(job, folder, output)
    job.progress(None, command[0].rpartition("/")[2])
    # mksquashfs takes times from its flags or from SOURCE_DATE_EPOCH, and refuses both at once.
    environment = {name: text for name, text in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise phiworker.WorkerError(
            f"{command[0]} failed with exit status {done.returncode}: {done.stdout.strip()[-500:]}",
            hint="check that the disk has space for the model three times",
        )
    shutil.rmtree(folder)
    return output


def stage(files: list[tuple[str, Path]], folder: Path) -> None:
    """Copy the files with fixed modes: the tools preserve modes, hard links and sparseness."""
    for name, path in files:
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o444)
    for inside in (folder, *folder.rglob("*")):
        if inside.is_dir():
            inside.chmod(0o755)


def erofs(job: phiworker.Job, folder: Path, output: Path) -> list[str]:
    """Without compression and tails among the inodes: each file is contiguous from a block on."""
    mkfs = str(job.tools["mkfs.erofs"])
    run = subprocess.run([mkfs, "-V"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    version = re.search(r"mkfs\.erofs\D* (\d+)\.(\d+)", run.stdout)
    # 1.5 supports only blocks of 4096 bytes; later versions default to the machine's page size.
    block = ["-b4096"] if version and (int(version[1]), int(version[2])) >= (1, 6) else []
    flags = ["-T0", f"-U{_NO_UUID}", "--all-root", "-x-1", "-Enoinline_data,force-inode-compact"]
    return [mkfs, "--quiet", *block, *flags, str(output), str(folder)]


def squashfs(job: phiworker.Job, folder: Path, output: Path) -> list[str]:
    """Without compression, which depends on versions of libraries and saves next to nothing."""
    flags = "-noappend -no-progress -quiet -all-root -no-xattrs -no-fragments -no-sparse"
    times = "-mkfs-time 0 -all-time 0 -b 131072 -processors 1 -noI -noId -noD -noF -noX"
    return [str(job.tools["mksquashfs"]), str(folder), str(output), *flags.split(), *times.split()]
