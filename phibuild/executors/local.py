"""The local executor: one action is one subprocess under its toolchain's interpreter."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from phibuild.executors.environment import worker_environment
from phibuild.executors.messages import (
    Failure,
    NotOfTheProtocol,
    Progress,
    Recall,
    Remember,
    SystemFailure,
    Written,
    read_message,
)
from phibuild.executors.missing import missing_module
from phibuild.model.action import HOST, Action
from phibuild.model.errors import ActionError, PhiError, error_of_code
from phibuild.process.supervised import Interrupted, MessageTooLong, ProcessExit, run_logged

_PROTOCOL = 4
_TAIL = 64 << 10
"""Bytes of a log that are read: a worker may have printed gigabytes."""


class Request(NamedTuple):
    """An action with its inputs, in a folder of its own; all paths absolute."""

    action: Action
    inputs: Mapping[str, Path]
    folder: Path

    @property
    def output(self) -> Path:
        """Where the worker writes its output."""
        return self.folder / "output"


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """One run of a worker, for one action or several that go together. All paths are absolute;
    `workspace` is empty except for the requests' folders with their inputs. `code` is the folder
    with all that the worker may import beside its toolchain, `script` the worker's path in it.
    `bytecode` is where Python keeps compiled modules between runs; `identity` and `tensors` are
    those of the worker's jobs (phiworker.py)."""

    requests: Sequence[Request]
    python: Path
    code: Path
    script: str
    workspace: Path
    tools: Mapping[str, Path]
    bytecode: Path
    identity: str
    tensors: Sequence[Sequence[object]] = ()

    @property
    def action(self) -> Action:
        """The first of the actions; all of them run alike."""
        return self.requests[0].action

    @property
    def log(self) -> Path:
        """The output of the worker and its toolkit."""
        return self.workspace / "log.txt"


class Listener(Protocol):
    """Receives the messages of a running worker."""

    def on_progress(self, fraction: float | None, text: str) -> None:
        """It has done this share of its work, and `text` is what it does now."""

    def on_recall(self, keys: Sequence[str]) -> Mapping[str, Sequence[object]]:
        """Where the pieces of these keys lie: path, offset, size, sha256."""

    def on_remember(self, piece: Remember) -> None:
        """A piece of an output has a key."""

    def on_written(self, file: Written) -> None:
        """A file of an output is complete and has this digest."""


def run_worker(order: WorkOrder, listener: Listener) -> ProcessExit:
    """Run the worker to its end. A PhiError with code, hint and the last lines of the log if it
    fails; the caller removes the workspace."""
    for folder in ("home", "tmp"):
        (order.workspace / folder).mkdir()
    for request in order.requests:
        (request.folder / "scratch").mkdir()
    job = order.workspace / "job.json"
    job.write_text(json.dumps(_document(order)), "utf-8")
    reported: list[PhiError] = []

    def on_message(line: bytes) -> bytes:
        match read_message(line):
            case Failure(code, message, hint):
                reported.append(error_of_code(code, message, hint=hint))
            case SystemFailure(errno.ENOSPC | errno.EDQUOT):
                reported.append(disk_full(order.workspace))
            case Progress(fraction, text):
                listener.on_progress(fraction, text)
            case Remember(number) as piece if number < len(order.requests):
                listener.on_remember(piece)
            case Written(number) as file if number < len(order.requests):
                listener.on_written(file)
            case Recall(keys):
                return json.dumps(listener.on_recall(keys)).encode() + b"\n"
        return b""

    try:
        outcome = run_logged(
            [order.python, *_isolated(order.action), order.code / order.script, job],
            folder=order.workspace,
            environment=_environment(order),
            log=order.log,
            on_message=on_message,
        )
    except Interrupted:
        raise _interrupted(order) from None
    except NotOfTheProtocol as error:
        raise _misunderstood(order, f"sent what is not a message: {error}") from None
    except MessageTooLong:
        raise _misunderstood(order, "sent a line that does not end") from None
    except ChildProcessError as error:
        raise ActionError(f"{order.action.name}: {error}", code="PHI402") from None
    if outcome.status != 0:
        raise reported[0] if reported else _unexplained(order, outcome)
    if not all(_is_complete(request.output) for request in order.requests):
        raise ActionError(
            f"{order.action.name} ended without its output",
            hint="job.output has to be a file or a folder, and not a link",
            code="PHI403",
        )
    return outcome


def _is_complete(output: Path) -> bool:
    return not output.is_symlink() and (output.is_file() or output.is_dir())


def disk_full(folder: Path) -> ActionError:
    """The error for a write that did not fit."""
    return ActionError(
        f"the disk that holds {folder} is full",
        hint="free some room, or set PHIBUILD_STORE to a folder on a larger disk; finished results"
        " are kept, and the artifact is unchanged",
        code="PHI404",
    )


def _isolated(action: Action) -> tuple[str, ...]:
    """Python's options: no imports from the script's folder or the user's, and none from
    site-packages under HOST."""
    return ("-P", "-s", "-S") if action.toolchain == HOST else ("-P", "-s")


def _document(order: WorkOrder) -> dict[str, object]:
    return {
        "protocol": _PROTOCOL,
        "name": order.action.name,
        "tools": {name: str(path) for name, path in order.tools.items()},
        "threads": _cores(),
        "identity": order.identity,
        "tensors": order.tensors,
        "jobs": [
            {
                "inputs": {name: str(path) for name, path in request.inputs.items()},
                "output": str(request.output),
                "recipe": {name: json.loads(value) for name, value in request.action.recipe},
                "scratch": str(request.folder / "scratch"),
            }
            for request in order.requests
        ],
    }


def _environment(order: WorkOrder) -> dict[str, str]:
    return worker_environment(
        os.environ,
        workspace=order.workspace,
        programs=[order.tools[program.name] for program in order.action.programs],
        bytecode=order.bytecode,
        network=order.action.network,
    ) | {"PYTHONPATH": str(order.code)}


def _cores() -> int:
    """The processor cores that this build may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _interrupted(order: WorkOrder) -> ActionError:
    return ActionError(
        f"{order.action.name} was interrupted",
        hint="build again: finished results are recalled",
        code="PHI406",
    )


def _misunderstood(order: WorkOrder, problem: str) -> ActionError:
    return ActionError(
        f"{order.action.name} {problem}",
        hint="a worker sends messages only through its job: progress, recall, remember, written",
        code="PHI407",
    )


def last_lines(log: Path) -> str:
    """The end of a log, however long it is."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        return file.read(_TAIL).decode("utf-8", "replace")


def _unexplained(order: WorkOrder, outcome: ProcessExit) -> PhiError:
    name = order.action.name
    log = last_lines(order.log)
    if "No space left on device" in log or shutil.disk_usage(order.workspace).free < 1 << 20:
        return disk_full(order.workspace)
    if outcome.status in (-signal.SIGINT, 128 + signal.SIGINT, -signal.SIGTERM):
        return _interrupted(order)
    if outcome.status < 0:
        peak = outcome.peak_bytes / 1e9
        return ActionError(
            f"{name} was killed by signal {-outcome.status}"
            f" ({signal.Signals(-outcome.status).name}) after {outcome.seconds:.0f} s,"
            f" with {peak:.1f} GB of memory at its peak",
            hint="if nobody killed it, the machine ran out of memory: use -j1, or a larger machine",
            code="PHI402",
        )
    missing = missing_module(order.action, log)
    if missing is not None:
        return missing
    tail = "\n".join(f"  | {line}" for line in log.strip().splitlines()[-12:])
    return ActionError(
        f"{name} failed with exit status {outcome.status}; the last lines of its log:\n{tail}"
    )
