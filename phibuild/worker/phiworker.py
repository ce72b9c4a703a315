"""The worker's side of an action: read the job, report progress, say what went wrong.

Runs under a toolchain's interpreter, where phibuild itself is not installed: standard library only,
Python 3.10 and later. Protocol: the job is a JSON file named by the first argument; messages go as
JSON lines to the file descriptor that ``PHIBUILD_MESSAGES`` names, answers come as such lines from
the one that ``PHIBUILD_ANSWERS`` names; stdout and stderr are the log.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROTOCOL = 4


class WorkerError(Exception):
    """A failure that the worker understands: shown to the user with its code and hint."""

    def __init__(self, message: str, *, hint: str = "", code: str = "PHI401") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the model: what it is, and where its bytes lie among the weights. `sha256` is of
    these bytes; `dtype` is safetensors' name, `offset` and `size` are in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str
    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class Piece:
    """A range of bytes in a file that was made before; `sha256` is what they should be."""

    path: Path
    offset: int
    size: int
    sha256: str

    def read(self) -> bytearray | None:
        """The bytes, in memory; None if they are not what they should be."""
        content = bytearray(self.size)
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.offset)
                view = memoryview(content)
                while view and (count := file.readinto(view)):
                    view = view[count:]
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == self.sha256 else None


@dataclass(frozen=True)
class Job:
    """What one action is asked to do. Paths are absolute; `output` does not exist yet. `identity`
    changes with the worker and its toolchains, and with nothing else."""

    name: str
    inputs: dict[str, Path]
    output: Path
    recipe: dict[str, Any]
    tools: dict[str, Path]
    scratch: Path
    threads: int
    identity: str
    tensors: tuple[StoredTensor, ...]
    number: int = 0
    """Its place among the jobs of one run."""

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Tell the share of the whole run that is done, between 0 and 1 (None: unknown), and what
        is being done."""
        _send({"progress": fraction, "text": text})

    @contextmanager
    def importing(self, name: str) -> Iterator[None]:
        """Around imports that take seconds: tell of them, and look for garbage among what they make
        once, when they are done. To look again and again would be a fifth of their time."""
        self.progress(None, f"import {name}")
        gc.disable()
        try:
            yield
        finally:
            gc.collect()
            gc.freeze()
            gc.enable()

    def recall(self, keys: Iterable[str]) -> dict[str, Piece]:
        """Those of the pieces that are known: see `remember`. Compare the bytes with `sha256`."""
        answer = _ask({"recall": sorted(set(keys))})
        return {
            key: Piece(Path(path), offset, size, sha256)
            for key, (path, offset, size, sha256) in answer.items()
        }

    def remember(self, key: str, *, offset: int, size: int, sha256: str, file: str = ".") -> None:
        """Once this job has succeeded, `key` names this range of its output (of `file` in it, if it
        is a folder). A key has to hold all that the bytes depend on, `identity` included."""
        _send({"remember": [self.number, key, file, offset, size, sha256]})

    def written(self, sha256: str, *, file: str = ".") -> None:
        """A file of the output is complete, and these are the hexadecimal digits of its bytes'
        digest: the store need not read it again. Without this it does."""
        _send({"written": [self.number, file, sha256]})


def run(main: Callable[[Job], None]) -> None:
    """Execute `main` on the job named on the command line; exit status 1 after a reported error."""

    def main_of_one(jobs: Sequence[Job]) -> None:
        (job,) = jobs
        main(job)

    run_batch(main_of_one)


def run_batch(main: Callable[[Sequence[Job]], None]) -> None:
    """The same for the worker of `batched` actions: `main` gets one job for each of them. They have
    the same tensors, tools and input "model"."""
    os.umask(0o022)  # the user's is not the result's
    document = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    if document["protocol"] != PROTOCOL:
        raise SystemExit(f"worker protocol {document['protocol']} is not {PROTOCOL}")
    tensors = tuple(
        StoredTensor(name, dtype, tuple(shape), sha256, Path(path), offset, size)
        for name, dtype, shape, sha256, path, offset, size in document["tensors"]
    )
    jobs = [
        Job(
            name=document["name"],
            inputs={name: Path(path) for name, path in one["inputs"].items()},
            output=Path(one["output"]),
            recipe=one["recipe"],
            tools={name: Path(path) for name, path in document["tools"].items()},
            scratch=Path(one["scratch"]),
            threads=document["threads"],
            identity=document["identity"],
            tensors=tensors,
            number=number,
        )
        for number, one in enumerate(document["jobs"])
    ]
    try:
        main(jobs)
        gc.freeze()  # with torch, the end of the process would spend a second looking for garbage
    except WorkerError as error:
        _send({"error": {"message": error.message, "hint": error.hint, "code": error.code}})
        raise SystemExit(1) from None
    except OSError as error:
        traceback.print_exc()
        _send({"errno": error.errno, "text": str(error)})
        raise SystemExit(1) from None


def _send(message: dict[str, Any]) -> None:
    descriptor = os.environ.get("PHIBUILD_MESSAGES")
    if descriptor is not None:
        # The first newline ends what a native library may have written there.
        content = memoryview(b"\n" + json.dumps(message).encode() + b"\n")
        with _sending:
            while content:
                content = content[os.write(int(descriptor), content) :]


def _ask(message: dict[str, Any]) -> Any:
    descriptor = os.environ.get("PHIBUILD_ANSWERS")
    if descriptor is None:
        return {}
    with _asking:
        _send(message)
        with open(int(descriptor), encoding="utf-8", closefd=False) as answers:
            answer = answers.readline()
    if not answer:
        raise SystemExit("the build is gone")
    return json.loads(answer)


_sending = threading.Lock()
_asking = threading.Lock()
