"""Sets up a worker's process for OpenVINO, NNCF and Optimum: no telemetry, the same sums on any
number of cores, and their progress bars as phibuild's."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import phiworker

Spans = Mapping[str, tuple[float, float]]
"""Titles of progress bars, in lower case, with the start and end of each in the whole action."""


def forbid_telemetry() -> None:
    """Replace Intel's telemetry package by an empty module, which OpenVINO and NNCF accept. Call
    this before they are imported.

    The package would write an identifier into the home folder and open connections, and no
    environment variable prevents both.
    """
    sys.modules["openvino_telemetry"] = ModuleType("openvino_telemetry")


def fix_sums() -> None:
    """Make numpy's linear algebra add up in one order, whatever the number of cores. Otherwise the
    result of GPTQ would depend on them. Call this before numpy is imported."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.environ["VECLIB_MAXIMUM_THREADS"] = "1"  # numpy's library on a Mac


def hide_torch() -> None:
    """Hide torch from transformers, whose import would take twice as long as the whole work on
    tokenizers. Call this before transformers is imported."""
    find_spec = importlib.util.find_spec

    def without_torch(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "torch" else find_spec(name, package)

    importlib.util.find_spec = without_torch


def pass_on_progress(job: phiworker.Job, spans: Spans) -> None:
    """Report the toolkit's progress bars as the progress of the job."""

    def report(title: str, part: float) -> None:
        for name, (start, end) in spans.items():
            if title.lower().startswith(name):
                job.progress(start + (end - start) * min(part, 1.0), name)

    _watch_tqdm(report)
    _watch_rich(report)


def _watch_tqdm(report: Any) -> None:
    bar = import_module("tqdm.std").tqdm
    display = bar.display

    def watched(self: Any, *arguments: Any, **named: Any) -> Any:
        if self.total:
            report(self.desc, self.n / self.total)
        return display(self, *arguments, **named)

    bar.display = watched


def _watch_rich(report: Any) -> None:
    bars = import_module("rich.progress").Progress
    update = bars.update

    def watched(self: Any, task_id: Any, **named: Any) -> None:
        update(self, task_id, **named)
        task = self._tasks.get(task_id)
        if task is not None and task.total:
            report(task.description, task.completed / task.total)

    bars.update = watched
