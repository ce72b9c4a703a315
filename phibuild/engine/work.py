"""Running one action: a workspace that holds what it declared, a worker, a recorded result."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from phibuild import __version__
from phibuild.engine.workshop import Workshop
from phibuild.executors import WorkOrder, run_worker
from phibuild.executors.local import disk_full
from phibuild.model.action import Action
from phibuild.model.digest import Digest
from phibuild.model.errors import PhiError, SourceError
from phibuild.model.facts import Facts, action_key
from phibuild.source import Checkpoint, lay_out
from phibuild.store import ActionResult
from phibuild.store.index import History


def work(
    shop: Workshop,
    action: Action,
    checkpoint: Checkpoint | None,
    *,
    found: Facts,
    results: Mapping[str, ActionResult],
    tools: Mapping[str, Path],
    reported_as: str,
) -> ActionResult:
    """Run the worker and record what it made. `results` are those of the input actions."""
    key = action_key(found)
    python = shop.python_of(action.toolchain)
    size = input_size(action, checkpoint, results)
    shop.reporter.started(reported_as, seconds=expected_seconds(shop, action, size))
    try:
        with disk_full_as_error(shop.store.root), shop.store.workspace() as folder:
            order = WorkOrder(
                action=action,
                python=python,
                workspace=folder,
                inputs=_inputs(shop, action, checkpoint, results, folder),
                tools=tools,
                bytecode=shop.store.root / "bytecode",
            )
            try:
                outcome = run_worker(
                    order, lambda part, text: shop.reporter.progressed(reported_as, part, text)
                )
            except PhiError:
                _keep_log(shop, order.log, key)
                raise
            if checkpoint is not None and not shop.is_unchanged(checkpoint):
                raise SourceError(
                    f"{checkpoint.folder} changed while {action.name} was reading it",
                    hint="build again when the files are complete",
                    code="PHI106",
                )
            result = ActionResult(
                key=key,
                action=action.name,
                facts=found,
                inputs=tuple((name, one.key) for name, one in results.items()),
                tree=shop.store.put(order.output),
                seconds=round(outcome.seconds, 3),
                peak_bytes=outcome.peak_bytes,
                finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                maker=f"phibuild {__version__}",
            )
            shop.store.record(result)
            history = History(size, outcome.seconds, outcome.peak_bytes)
            shop.store.index.record_history(action.name, history)
            return result
    finally:
        shop.reporter.ended(reported_as)


@contextlib.contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """Turn the many faces of a full disk into the one error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder) from error
        raise
    except sqlite3.OperationalError as error:
        if "full" in str(error) or "disk I/O" in str(error):
            raise disk_full(folder) from error
        raise


def _inputs(
    shop: Workshop,
    action: Action,
    checkpoint: Checkpoint | None,
    results: Mapping[str, ActionResult],
    folder: Path,
) -> dict[str, Path]:
    place = folder / "inputs"
    place.mkdir()
    inputs = {}
    for name, one in action.inputs:
        inputs[name] = place / name
        if not isinstance(one, Action):
            inputs[name] = place / f"{name}{Path(one.path).suffix}"
            inputs[name].symlink_to(Path(one.path).resolve())
        elif results[name].tree.is_file:
            inputs[name].symlink_to(shop.store.object_path(results[name].tree.entries[0]))
        else:
            shop.store.materialise(results[name].tree, inputs[name])
    if action.slices and checkpoint is not None:
        inputs["model"] = place / "model"
        lay_out(checkpoint, action.slices, inputs["model"])
    return inputs


def input_size(
    action: Action, checkpoint: Checkpoint | None, results: Mapping[str, ActionResult]
) -> int:
    """Bytes that the action reads: what its duration is scaled by."""
    size = checkpoint.size if checkpoint is not None and "weights" in action.slices else 0
    return size + sum(result.tree.size for result in results.values())


def expected_seconds(shop: Workshop, action: Action, size: int) -> float | None:
    last = shop.store.index.history_of(action.name)
    if last is None:
        return None
    return last.seconds * (size / last.size) if size and last.size else last.seconds


def _keep_log(shop: Workshop, log: Path, key: Digest) -> None:
    kept = shop.store.root / "logs" / f"{key.hex[:16]}.txt"
    with contextlib.suppress(OSError):
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(log, kept)
        os.utime(kept)
