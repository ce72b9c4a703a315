"""Packs a file or folder as a tar or a file system that can be mounted, to bytes that depend on the
files' names and contents and on nothing else: no time, owner, mode or order of a folder's entries.
For workers: standard library only."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import phiworker

_UUID = "70686962-7569-6c64-8000-000000000001"
"""Of every EROFS image: what is mounted is known by its digest."""


def pack(artifact: Path, name: str, container: str, payload: Any, job: phiworker.Job) -> None:
    """Write the container into `payload`; a single file has the name `name` in it."""
    files = files_of(artifact, name)
    if container == "tar":
        pack_tar(files, payload)
    else:
        pack_file_system(files, container, payload, job)


def pack_file_system(
    files: Iterable[tuple[str, Path]], container: str, payload: Any, job: phiworker.Job
) -> None:
    # Modes are in the image, and those of the input are the store's or the user's.
    tree = job.scratch / "tree"
    for path, source in files:
        (tree / path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        shutil.copyfile(source, tree / path)
        (tree / path).chmod(0o644)
    for folder in (tree, *(one for one in tree.rglob("*") if one.is_dir())):
        folder.chmod(0o755)
    packed = job.scratch / "packed"
    made = subprocess.run(
        arguments(container, job.inputs["program"], tree, packed),
        env={},  # times are given once, by the arguments
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise phiworker.WorkerError(
            f"{container} could not be written: {made.stdout.strip()[-500:]}", code="PHI401"
        )
    shutil.rmtree(tree)
    with packed.open("rb") as file:
        shutil.copyfileobj(file, payload, 1 << 20)
    packed.unlink()


def arguments(container: str, program: Path, tree: Path, packed: Path) -> list[str | Path]:
    """The command. Nothing is compressed: quantized weights do not shrink, and what is not
    compressed lies page by page in the image, to be mapped without a copy."""
    if container == "erofs":
        return [program, "-x-1", "-T0", "--all-root", "-U", _UUID, packed, tree]
    plain = ("-noI", "-noD", "-noF", "-noX", "-no-fragments")
    fixed = ("-noappend", "-no-xattrs", "-all-root", "-mkfs-time", "0", "-all-time", "0")
    quiet = ("-no-progress", "-quiet", "-processors", "1")
    return [program, tree, packed, *plain, *fixed, *quiet]


def files_of(artifact: Path, name: str) -> list[tuple[str, Path]]:
    if not artifact.is_dir():
        return [(name, artifact)]
    return sorted(
        (path.relative_to(artifact).as_posix(), path)
        for path in artifact.rglob("*")
        if not path.is_dir()
    )


def pack_tar(files: Iterable[tuple[str, Path]], payload: Any) -> None:
    """Files in order of their paths, without folders of their own."""
    with tarfile.open(fileobj=payload, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for name, path in files:
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                try:
                    archive.addfile(entry, file)
                except ValueError as error:
                    raise phiworker.WorkerError(
                        f"{name} cannot be packed as ustar: {error}",
                        hint="a tar holds paths of 256 bytes and files of 8 GiB",
                        code="PHI701",
                    ) from None
