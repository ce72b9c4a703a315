"""Running a worker: a workspace that holds what its actions declared, and nothing recorded if a
source changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from phibuild.engine.building.costs import expected_cost, input_size
from phibuild.engine.building.diagnosis import diagnosed
from phibuild.engine.building.listener import WorkerListener
from phibuild.engine.building.record import record_run
from phibuild.engine.disk import disk_full_as_error
from phibuild.engine.keys import KeyedStep, identity
from phibuild.engine.reading.inputs import changed_while_read, is_unchanged, show_input
from phibuild.engine.workers.code import Code
from phibuild.engine.workers.code_folder import code_folder
from phibuild.engine.workers.toolchains import Toolchains
from phibuild.engine.workshop import Workshop
from phibuild.executors import Request, WorkOrder, run_worker
from phibuild.model.action import Action, FileInput
from phibuild.model.digest import Digest
from phibuild.model.errors import ActionError, PhiError
from phibuild.model.facts import Fact
from phibuild.process.ending import removed_at_the_end
from phibuild.source import Checkpoint, lay_out, tensor_places
from phibuild.store import ActionResult, Store

Batch = Sequence[KeyedStep[Action]]


def run_batch(
    shop: Workshop,
    batch: Batch,
    checkpoint: Checkpoint | None,
    *,
    tools: Mapping[str, Path],
    reported_as: str,
) -> list[ActionResult]:
    """Run the worker once for all of these actions, which go together, and record the result of
    each."""
    action = batch[0].step
    python = shop.toolchains.python_of(action.toolchain)
    code = _code(shop.toolchains, batch)
    shop.reporter.started(reported_as, seconds=_expected_seconds(shop.store, batch, checkpoint))
    try:
        with (
            disk_full_as_error(shop.store.root),
            shop.store.workspace() as folder,
            removed_at_the_end(folder),
        ):
            with _while_unchanged(shop, batch, checkpoint):
                requests = _requests(shop.store, batch, checkpoint, folder)
            order = WorkOrder(
                requests=requests,
                python=python,
                code=code_folder(shop.store, code),
                script=code.script,
                workspace=folder,
                tools=tools,
                bytecode=shop.toolchains.interpreters.bytecode,
                identity=identity(shop.toolchains, action).hex,
                tensors=tensor_places(checkpoint, requests[0].inputs["model"])
                if checkpoint is not None and "weights" in action.slices
                else (),
            )
            outputs = [request.output for request in requests]
            listener = WorkerListener(shop.store, shop.reporter, reported_as, outputs)
            with _while_unchanged(shop, batch, checkpoint):
                try:
                    outcome = run_worker(order, listener)
                except PhiError as error:
                    _keep_log(shop.store, order.log, batch[0].key)
                    raise diagnosed(shop, action, error, order.log) from None
            _check_inputs(shop.store, batch)
            results = record_run(shop.store, batch, checkpoint, listener, outcome)
            shop.store.index.record_items(str(code.digest), code.items)
            return results
    finally:
        shop.reporter.ended(reported_as)


def _expected_seconds(store: Store, batch: Batch, checkpoint: Checkpoint | None) -> float | None:
    """None unless the cost of each action is known."""
    costs = [
        expected_cost(store, step.step, input_size(step.step, checkpoint, step.trees))
        for step in batch
    ]
    known = [cost.seconds for cost in costs if cost is not None]
    return sum(known) if len(known) == len(batch) else None


def _code(toolchains: Toolchains, batch: Batch) -> Code:
    """The worker's code, which all these share. SourceError PHI106 if it is no longer what their
    keys say."""
    action = batch[0].step
    code = toolchains.code.read(action)
    if any(Fact("worker", str(code.digest)) not in step.facts for step in batch):
        raise changed_while_read(action.worker, "phibuild")
    return code


def _requests(
    store: Store, batch: Batch, checkpoint: Checkpoint | None, workspace: Path
) -> list[Request]:
    """Each action in a folder of its own, shown the same view of the model."""
    model = {}
    slices = batch[0].step.slices
    if slices and checkpoint is not None:
        model["model"] = workspace / "model"
        lay_out(checkpoint, slices, model["model"])
    requests = []
    for number, step in enumerate(batch):
        folder = workspace / str(number)
        folder.mkdir()
        inputs = _show_inputs(store, step, folder / "inputs") | model
        requests.append(Request(step.step, inputs, folder))
    return requests


def _show_inputs(store: Store, step: KeyedStep[Action], folder: Path) -> dict[str, Path]:
    folder.mkdir()
    paths = {}
    for name, input in step.step.inputs:
        paths[name] = folder / name
        if isinstance(input, FileInput):
            paths[name] = show_input(step.files[name], paths[name])
        elif step.trees[name].is_file:
            paths[name].symlink_to(store.object_path(step.trees[name].entries[0]))
        else:
            store.show(step.trees[name], paths[name])
    return paths


@contextlib.contextmanager
def _while_unchanged(shop: Workshop, batch: Batch, checkpoint: Checkpoint | None) -> Iterator[None]:
    """SourceError PHI106 if a source or an input is no longer what was digested: whatever became of
    the work, a failure included, is due to that."""
    try:
        yield
    finally:
        error = sys.exception()
        if error is None or isinstance(error, PhiError | OSError):
            _check_sources(shop, batch, checkpoint)


def _check_sources(shop: Workshop, batch: Batch, checkpoint: Checkpoint | None) -> None:
    reader = batch[0].step.name
    if checkpoint is not None and not shop.sources.is_unchanged(checkpoint):
        raise changed_while_read(checkpoint.folder, reader)
    _code(shop.toolchains, batch)
    for step in batch:
        for file in step.files.values():
            if not is_unchanged(shop.sources.index, file):
                raise changed_while_read(file.path, reader)


def _check_inputs(store: Store, batch: Batch) -> None:
    """A worker that runs as root can write through a link to an object. `has` discards such an
    object, and nothing that was built from it is recorded."""
    for step in batch:
        for name, tree in step.trees.items():
            if not store.has(tree):
                raise ActionError(
                    f"{step.step.name} changed its input {name}",
                    hint="a worker writes to its output and its scratch folder only; build again",
                )


def _keep_log(store: Store, log: Path, key: Digest) -> None:
    kept = store.root / "logs" / f"{key.hex[:16]}.txt"
    with contextlib.suppress(OSError):
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(log, kept)
        os.utime(kept)
