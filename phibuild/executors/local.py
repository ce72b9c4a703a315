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

from phibuild.executors.missing import missing_module
from phibuild.model.action import HOST, Action
from phibuild.model.errors import ActionError, PhiError, error_of_code
from phibuild.process import Outcome, run_logged

_PROTOCOL = 4
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
_NETWORK = ("PIP_", "UV_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY")
_BUILD = ("CC", "CXX", "MACOSX_DEPLOYMENT_TARGET", "SDKROOT")


class Request(NamedTuple):
    """An action with its inputs, in a folder of its own; all paths absolute."""

    action: Action
    inputs: Mapping[str, Path]
    folder: Path

    @property
    def output(self) -> Path:
        """Where the worker puts what it makes."""
        return self.folder / "output"


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What one run of a worker is asked for: one action, or several that go together. All paths are
    absolute, `workspace` is empty but for the requests' folders with their inputs. `code` is the
    folder of all that the worker may import beside its toolchain, `script` the path in it of what
    runs. `bytecode` is where Python keeps what it compiled between runs; `identity` and `tensors`
    are those of the worker's jobs (phiworker.py)."""

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
        """The first of the actions, which says of all what runs them."""
        return self.requests[0].action

    @property
    def log(self) -> Path:
        """What the worker and its toolkit print."""
        return self.workspace / "log.txt"


class Listener(Protocol):
    """Who hears of a running worker."""

    def on_progress(self, fraction: float | None, text: str) -> None:
        """It has done this share of its work, and does now what `text` says."""

    def on_recall(self, keys: Sequence[str]) -> Mapping[str, Sequence[object]]:
        """Where the pieces of these keys lie: path, offset, size, sha256."""

    def on_remember(
        self, number: int, key: str, file: str, offset: int, size: int, sha256: str
    ) -> None:
        """A piece of the output of the request of that number has this key."""

    def on_written(self, number: int, file: str, sha256: str) -> None:
        """A file of the output of the request of that number is complete and has this digest."""


def run_worker(order: WorkOrder, listener: Listener) -> Outcome:
    """Run the worker to its end. A PhiError with code, hint and the log's tail if it fails; the
    caller throws the workspace away."""
    for folder in ("home", "tmp"):
        (order.workspace / folder).mkdir()
    for one in order.requests:
        (one.folder / "scratch").mkdir()
    job = order.workspace / "job.json"
    job.write_text(json.dumps(_document(order)), "utf-8")
    reported: list[PhiError] = []

    def on_message(line: bytes) -> bytes:
        try:
            message = json.loads(line)
        except ValueError:
            return b""  # a native library wrote to our descriptor; it is not a message
        if "error" in message:
            reported.append(_reported(message["error"]))
        elif message.get("errno") == errno.ENOSPC:
            reported.append(disk_full(order.workspace))
        elif "progress" in message:
            listener.on_progress(message["progress"], message["text"])
        elif "remember" in message:
            listener.on_remember(*message["remember"])
        elif "written" in message:
            listener.on_written(*message["written"])
        elif "recall" in message:
            return json.dumps(listener.on_recall(message["recall"])).encode() + b"\n"
        return b""

    outcome = run_logged(
        [order.python, *_isolated(order.action), order.code / order.script, job],
        folder=order.workspace,
        environment=_environment(order),
        log=order.log,
        on_message=on_message,
    )
    if outcome.status != 0:
        raise reported[0] if reported else _unexplained(order, outcome)
    if not all(one.output.exists() for one in order.requests):
        raise ActionError(f"{order.action.name} ended without making its output", code="PHI403")
    return outcome


def disk_full(folder: Path) -> ActionError:
    """The error for a write that found no room."""
    return ActionError(
        f"the disk that holds {folder} is full",
        hint="free some room, or set PHIBUILD_STORE to a folder on a larger disk; what was finished"
        " is kept and the artifact is as it was",
        code="PHI404",
    )


def _isolated(action: Action) -> tuple[str, ...]:
    """Options of Python: nothing of the script's folder, nor of the user's; and under HOST no
    site-packages."""
    return ("-P", "-s", "-S") if action.toolchain == HOST else ("-P", "-s")


def _document(order: WorkOrder) -> dict[str, object]:
    return {
        "protocol": _PROTOCOL,
        "name": order.action.name,
        "tools": {name: str(path) for name, path in order.tools.items()},
        "threads": os.cpu_count() or 1,
        "identity": order.identity,
        "tensors": order.tensors,
        "jobs": [
            {
                "inputs": {name: str(path) for name, path in one.inputs.items()},
                "output": str(one.output),
                "recipe": {name: json.loads(value) for name, value in one.action.recipe},
                "scratch": str(one.folder / "scratch"),
            }
            for one in order.requests
        ],
    }


def _environment(order: WorkOrder) -> dict[str, str]:
    """Nothing ambient reaches a worker but how to find programs and libraries."""
    names = _PASSED_ON + (_BUILD if order.action.toolchain == HOST else ())
    passed = {name: os.environ[name] for name in names if name in os.environ}
    home = str(order.workspace / "home")
    if order.action.network:  # the user's index, proxy and certificate settings are in force
        passed |= {name: text for name, text in os.environ.items() if name.startswith(_NETWORK)}
        home = os.environ.get("HOME", home)
    return passed | {
        "HOME": home,
        "TMPDIR": str(order.workspace / "tmp"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONPATH": str(order.code),
        "PYTHONHASHSEED": "0",
        "PYTHONPYCACHEPREFIX": str(order.bytecode),
        "PYTHONUNBUFFERED": "1",
        "SOURCE_DATE_EPOCH": "0",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _reported(error: Mapping[str, str]) -> PhiError:
    return error_of_code(error["code"], error["message"], hint=error["hint"])


def _unexplained(order: WorkOrder, outcome: Outcome) -> PhiError:
    name = order.action.name
    log = order.log.read_text("utf-8", errors="replace")
    if "No space left on device" in log or shutil.disk_usage(order.workspace).free < 1 << 20:
        return disk_full(order.workspace)
    if outcome.status in (-signal.SIGINT, 128 + signal.SIGINT, -signal.SIGTERM):
        return ActionError(
            f"{name} was interrupted",
            hint="build again: what had finished is recalled",
            code="PHI406",
        )
    if outcome.status < 0:
        peak = outcome.peak_bytes / 1e9
        return ActionError(
            f"{name} was killed by signal {-outcome.status}"
            f" ({signal.Signals(-outcome.status).name}) after {outcome.seconds:.0f} s,"
            f" with {peak:.1f} GB of memory at its peak",
            hint="if nobody killed it, the machine ran out of memory: build fewer at once (-j1),"
            " or on a larger machine",
            code="PHI402",
        )
    missing = missing_module(order.action, log)
    if missing is not None:
        return missing
    tail = "\n".join(f"  | {line}" for line in log.strip().splitlines()[-12:])
    return ActionError(f"{name} failed with exit status {outcome.status}; its last words:\n{tail}")
