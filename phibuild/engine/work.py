"""Running one action: a workspace that holds what it declared, a worker, a recorded result."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phibuild import __version__
from phibuild.engine.keys import identity
from phibuild.engine.workshop import Workshop
from phibuild.executors import WorkOrder, run_worker
from phibuild.executors.local import disk_full
from phibuild.model.action import Action, Assembly, FileInput, Step, assembled
from phibuild.model.digest import Digest
from phibuild.model.errors import ActionError, PhiError, SourceError
from phibuild.model.facts import Facts, action_key
from phibuild.model.tree import Tree
from phibuild.source import Checkpoint, lay_out, slice_items, tensor_places
from phibuild.store import ActionResult, Piece
from phibuild.store.index import History

_MAKER = f"phibuild {__version__}"


def work(
    shop: Workshop,
    action: Action,
    checkpoint: Checkpoint | None,
    *,
    found: Facts,
    results: Mapping[str, ActionResult],
    trees: Mapping[str, Tree],
    tools: Mapping[str, Path],
    reported_as: str,
) -> ActionResult:
    """Run the worker and record what it made. `results` are those of the input steps, `trees` what
    the action takes of them."""
    key = action_key(found)
    python = shop.python_of(action.toolchain)
    size = input_size(action, checkpoint, trees)
    shop.reporter.started(reported_as, seconds=expected_seconds(shop, action, size))
    try:
        with disk_full_as_error(shop.store.root), shop.store.workspace() as folder:
            inputs = _inputs(shop, action, checkpoint, trees, folder)
            order = WorkOrder(
                action=action,
                python=python,
                workspace=folder,
                inputs=inputs,
                tools=tools,
                bytecode=shop.store.root / "bytecode",
                identity=identity(shop, action).hex,
                tensors=tensor_places(checkpoint, inputs["model"])
                if checkpoint is not None and "weights" in action.slices
                else (),
            )
            following = _Following(shop, reported_as)
            try:
                outcome = run_worker(order, following)
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
                finished=_now(),
                maker=_MAKER,
            )
            shop.store.record(result)
            for entry in result.tree.entries:
                if entry.path in following.pieces:
                    shop.store.record_pieces(entry, following.pieces[entry.path])
            if checkpoint is not None:
                for name in action.slices:
                    items = slice_items(checkpoint, name)
                    shop.store.index.record_items(str(checkpoint.slices[name]), items)
            history = History(size, outcome.seconds, outcome.peak_bytes)
            shop.store.index.record_history(action.name, history)
            return result
    finally:
        shop.reporter.ended(reported_as)


def assemble(
    shop: Workshop,
    assembly: Assembly,
    *,
    found: Facts,
    results: Mapping[str, ActionResult],
    trees: Mapping[str, Tree],
) -> ActionResult:
    """Record the tree that puts the inputs' files side by side; their bytes are in the store."""
    try:
        tree = assembled([(name, trees[name]) for name, _ in assembly.inputs])
    except ValueError as error:
        raise ActionError(f"{assembly.name}: {error}", code="PHI403") from None
    result = ActionResult(
        key=action_key(found),
        action=assembly.name,
        facts=found,
        inputs=tuple((name, one.key) for name, one in results.items()),
        tree=tree,
        seconds=0.0,
        peak_bytes=0,
        finished=_now(),
        maker=_MAKER,
    )
    shop.store.record(result)
    return result


@dataclass
class _Following:
    """Passes a worker's messages on. `pieces` are those of each file of its output, by key."""

    shop: Workshop
    reported_as: str
    pieces: dict[str, dict[str, Piece]] = field(default_factory=dict)

    def on_progress(self, fraction: float | None, text: str) -> None:
        self.shop.reporter.progressed(self.reported_as, fraction, text)

    def on_recall(self, keys: Sequence[str]) -> dict[str, Sequence[object]]:
        found = {key: self.shop.store.recall_piece(key) for key in keys}
        return {
            key: (str(known[0]), known[1].offset, known[1].size, known[1].sha256)
            for key, known in found.items()
            if known is not None
        }

    def on_remember(self, key: str, file: str, offset: int, size: int, sha256: str) -> None:
        self.pieces.setdefault(file, {})[key] = Piece(offset, size, sha256)


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
    trees: Mapping[str, Tree],
    folder: Path,
) -> dict[str, Path]:
    place = folder / "inputs"
    place.mkdir()
    inputs = {}
    for name, one in action.inputs:
        inputs[name] = place / name
        if isinstance(one, FileInput):
            inputs[name] = place / f"{name}{Path(one.path).suffix}"
            inputs[name].symlink_to(Path(one.path).resolve())
        elif trees[name].is_file:
            inputs[name].symlink_to(shop.store.object_path(trees[name].entries[0]))
        else:
            shop.store.materialise(trees[name], inputs[name])
    if action.slices and checkpoint is not None:
        inputs["model"] = place / "model"
        lay_out(checkpoint, action.slices, inputs["model"])
    return inputs


def input_size(action: Step, checkpoint: Checkpoint | None, trees: Mapping[str, Tree]) -> int:
    """Bytes that the action reads: what its duration is scaled by."""
    size = checkpoint.size if checkpoint is not None and "weights" in action.slices else 0
    return size + sum(tree.size for tree in trees.values())


def expected_seconds(shop: Workshop, action: Step, size: int) -> float | None:
    """What the action is expected to take, from the last time one of its name ran."""
    last = shop.store.index.history_of(action.name)
    if last is None:
        return None
    return last.seconds * (size / last.size) if size and last.size else last.seconds


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _keep_log(shop: Workshop, log: Path, key: Digest) -> None:
    kept = shop.store.root / "logs" / f"{key.hex[:16]}.txt"
    with contextlib.suppress(OSError):
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(log, kept)
        os.utime(kept)
