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
    """A tensor of the model, and the place of its bytes. `sha256` is of these bytes; `dtype` is
    safetensors' name, `offset` and `size` are in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str
    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class Piece:
    """A range of bytes in a file of an earlier result; `sha256` is what they should have."""

    path: Path
    offset: int
    size: int
    sha256: str

    def read(self) -> bytearray | None:
        """The bytes; None if they cannot be read or have another digest."""
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
    """The work for one action. Paths are absolute; `output` does not exist yet. `identity` changes
    with the worker and its toolchains, and with nothing else."""

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
    """Its index among the jobs of one run."""

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Report the share of the run that is done, from 0 to 1 (None: unknown), and the current
        work."""
        _send({"progress": fraction, "text": text})

    @contextmanager
    def importing(self, name: str) -> Iterator[None]:
        """Wrap imports that take seconds: report them, and collect garbage only once, at their end.
        Repeated collections would take a fifth of their time."""
        self.progress(None, f"import {name}")
        gc.disable()
        try:
            yield
        finally:
            gc.collect()
            gc.freeze()
            gc.enable()

    def recall(self, keys: Iterable[str]) -> dict[str, Piece]:
        """The known pieces among these keys: see `remember`. Compare the bytes with `sha256`."""
        answer = _ask({"recall": sorted(set(keys))})
        return {
            key: Piece(Path(path), offset, size, sha256)
            for key, (path, offset, size, sha256) in answer.items()
        }

    def remember(self, key: str, *, offset: int, size: int, sha256: str, file: str = ".") -> None:
        """Once this job has succeeded, let `key` name this range of its output (of `file` in it, if
        it is a folder). A key has to cover all that the bytes depend on, `identity` included."""
        _send({"remember": [self.number, key, file, offset, size, sha256]})

    def written(self, sha256: str, *, file: str = ".") -> None:
        """Report that a file of the output is complete, with its digest in hexadecimal digits, so
        that the store need not read the file."""
        _send({"written": [self.number, file, sha256]})


def run(main: Callable[[Job], None]) -> None:
    """Run `main` with the job named on the command line; exit status 1 after a reported error."""
    run_batch(lambda jobs: main(*jobs))


def run_batch(main: Callable[[Sequence[Job]], None]) -> None:
    """The same for the worker of `batched` actions: `main` gets one job for each. The jobs share
    their tensors, tools and the input "model"."""
    os.umask(0o022)  # results do not depend on the user's
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
            inputs={name: Path(path) for name, path in order["inputs"].items()},
            output=Path(order["output"]),
            recipe=order["recipe"],
            tools={name: Path(path) for name, path in document["tools"].items()},
            scratch=Path(order["scratch"]),
            threads=document["threads"],
            identity=document["identity"],
            tensors=tensors,
            number=number,
        )
        for number, order in enumerate(document["jobs"])
    ]
    try:
        main(jobs)
        gc.freeze()  # with torch, a last collection would take a second
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
        # The first newline ends a line that a native library may have written.
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
