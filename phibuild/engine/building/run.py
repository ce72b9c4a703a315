"""Running one action: a workspace that holds what it declared, a worker, a recorded result."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import shutil
import stat
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from phibuild import __version__
from phibuild.engine.building.costs import expected_cost, input_size, record_cost
from phibuild.engine.keys import identity
from phibuild.engine.reading.inputs import UserInput, changed_while_read, is_unchanged, show_input
from phibuild.engine.workers.code import Code, changed
from phibuild.engine.workers.code_folder import code_folder
from phibuild.engine.workshop import Workshop
from phibuild.executors import Request, WorkOrder, run_worker
from phibuild.executors.local import disk_full
from phibuild.executors.messages import Remember, Written
from phibuild.model.action import Action, Assembly, FileInput, assembled
from phibuild.model.digest import Digest
from phibuild.model.errors import ActionError, PhiError
from phibuild.model.facts import Fact, Facts, action_key
from phibuild.model.tree import Tree
from phibuild.process.ending import removed_at_the_end
from phibuild.source import Checkpoint, lay_out, slice_items, tensor_places
from phibuild.store import ActionResult, Cost, Piece, Told
from phibuild.store.index import hash_file

_MAKER = f"phibuild {__version__}"
_ALWAYS_READ = 64 << 20


S = TypeVar("S", Action, Assembly)


class Task(NamedTuple, Generic[S]):
    """A step that has to be done: its facts, the results of its input steps, what it takes of each
    of them, and the user's files among its inputs."""

    step: S
    facts: Facts
    results: Mapping[str, ActionResult]
    trees: Mapping[str, Tree]
    files: Mapping[str, UserInput] = MappingProxyType({})

    @property
    def key(self) -> Digest:
        """The key of what it will make."""
        return action_key(self.facts)


class BytecodeDamaged(ActionError):
    """A worker failed since what Python had compiled was damaged, as on a disk that was full. It is
    removed, so that the worker can run again."""


def work(
    shop: Workshop,
    tasks: Sequence[Task[Action]],
    checkpoint: Checkpoint | None,
    *,
    tools: Mapping[str, Path],
    reported_as: str,
) -> list[ActionResult]:
    """Run the worker once for all of these, which go together, and record what it made of each."""
    action = tasks[0].step
    python = shop.python_of(action.toolchain)
    code = _code(shop, tasks)
    sizes = [input_size(task.step, checkpoint, task.trees) for task in tasks]
    expected = [
        expected_cost(shop, task.step, size) for task, size in zip(tasks, sizes, strict=True)
    ]
    known = [cost.seconds for cost in expected if cost is not None]
    shop.reporter.started(reported_as, seconds=sum(known) if len(known) == len(tasks) else None)
    try:
        with (
            disk_full_as_error(shop.store.root),
            shop.store.workspace() as folder,
            removed_at_the_end(folder),
        ):
            with _while_unchanged(shop, tasks, checkpoint):
                requests = _requests(shop, tasks, checkpoint, folder)
            order = WorkOrder(
                requests=requests,
                python=python,
                code=code_folder(shop.store, code),
                script=code.script,
                workspace=folder,
                tools=tools,
                bytecode=shop.interpreters.bytecode,
                identity=identity(shop, action).hex,
                tensors=tensor_places(checkpoint, requests[0].inputs["model"])
                if checkpoint is not None and "weights" in action.slices
                else (),
            )
            following = _Following(shop, reported_as, [request.output for request in requests])
            with _while_unchanged(shop, tasks, checkpoint):
                try:
                    outcome = run_worker(order, following)
                except PhiError as error:
                    from phibuild.engine.building.diagnosis import diagnosed

                    _keep_log(shop, order.log, tasks[0].key)
                    raise diagnosed(shop, action, error, order.log) from None
            _check_inputs(shop, tasks)
            made = [
                shop.store.put(request.output, following.told[number])
                for number, request in enumerate(requests)
            ]
            whole = sum(tree.size for tree in made)
            shares = [tree.size / whole if whole else 1 / len(made) for tree in made]
            results = [
                _result(task, tree, seconds=outcome.seconds * share, peak_bytes=outcome.peak_bytes)
                for task, tree, share in zip(tasks, made, shares, strict=True)
            ]
            for number, result in enumerate(results):
                shop.store.record(result)
                for entry in result.tree.entries:
                    pieces = following.pieces.get((number, entry.path))
                    if pieces is not None:
                        shop.store.record_pieces(entry, pieces)
                if not following.recalled:  # else it took less than the next may take
                    cost = Cost(sizes[number], result.seconds, result.peak_bytes, result.tree.size)
                    record_cost(shop, tasks[number].step, cost)
            shop.store.index.record_items(str(code.digest), code.items)
            if checkpoint is not None:
                for name in action.slices:
                    items = slice_items(checkpoint, name)
                    shop.store.index.record_items(str(checkpoint.slices[name]), items)
            return results
    finally:
        shop.reporter.ended(reported_as)


def assemble(shop: Workshop, task: Task[Assembly]) -> ActionResult:
    """Record the tree that puts the inputs' files side by side; their bytes are in the store."""
    assembly = task.step
    try:
        tree = assembled([(name, task.trees[name]) for name, _ in assembly.inputs])
    except ValueError as error:
        raise ActionError(f"{assembly.name}: {error}", code="PHI403") from None
    result = _result(task, tree, seconds=0.0, peak_bytes=0)
    shop.store.record(result)
    return result


def _result(task: Task[S], tree: Tree, *, seconds: float, peak_bytes: int) -> ActionResult:
    return ActionResult(
        key=task.key,
        action=task.step.name,
        facts=task.facts,
        inputs=tuple((name, one.key) for name, one in task.results.items()),
        tree=tree,
        seconds=round(seconds, 3),
        peak_bytes=peak_bytes,
        finished=_now(),
        maker=_MAKER,
    )


@dataclass
class _Following:
    """Passes a worker's messages on. `pieces` are those of each file of its outputs, by key, `told`
    the digests of such files; `recalled` is how many pieces it was given of earlier outputs."""

    shop: Workshop
    reported_as: str
    outputs: Sequence[Path]
    told: defaultdict[int, dict[str, Told]] = field(default_factory=lambda: defaultdict(dict))
    pieces: dict[tuple[int, str], dict[str, Piece]] = field(default_factory=dict)
    recalled: int = 0

    def on_progress(self, fraction: float | None, text: str) -> None:
        self.shop.reporter.progressed(self.reported_as, fraction, text)

    def on_recall(self, keys: Sequence[str]) -> dict[str, Sequence[object]]:
        found = {key: self.shop.store.recall_piece(key) for key in keys}
        known: dict[str, Sequence[object]] = {
            key: (str(one[0]), one[1].offset, one[1].size, one[1].sha256)
            for key, one in found.items()
            if one is not None
        }
        self.recalled += len(known)
        return known

    def on_remember(self, piece: Remember) -> None:
        pieces = self.pieces.setdefault((piece.number, piece.file), {})
        pieces[piece.key] = Piece(piece.offset, piece.size, piece.sha256)

    def on_written(self, file: Written) -> None:
        """The store need not read the file again, unless it changes. Files of up to _ALWAYS_READ
        bytes are read all the same, while the worker goes on, and of larger ones so many that it is
        as much of each on average."""
        path = self.outputs[file.number] / file.file
        with contextlib.suppress(OSError):  # then the store reads the file, if there is one
            seen = path.lstat()
            if not stat.S_ISREG(seen.st_mode):
                return
            told = self.shop.store.told(path, Digest.parse(f"sha256:{file.sha256}"))
            drawn = int.from_bytes(os.urandom(8)) % max(seen.st_size, 1)
            if drawn < _ALWAYS_READ and hash_file(path) != told.digest:
                raise ActionError(
                    f"the worker reported a digest of {file.file} in its output that is false",
                    hint="job.written(sha256) is for a file that is complete;"
                    " without it, the store reads the file",
                    code="PHI407",
                )
            self.told[file.number][file.file] = told


@contextlib.contextmanager
def disk_full_as_error(folder: Path) -> Iterator[None]:
    """Turn a full disk into the error that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder) from error
        raise


def _code(shop: Workshop, tasks: Sequence[Task[Action]]) -> Code:
    """The code of the worker that all these share. SourceError PHI106 if it is no longer what their
    keys say."""
    code = shop.code.read(tasks[0].step)
    if any(Fact("worker", str(code.digest)) not in task.facts for task in tasks):
        raise changed(tasks[0].step.worker)
    return code


def _requests(
    shop: Workshop, tasks: Sequence[Task[Action]], checkpoint: Checkpoint | None, workspace: Path
) -> list[Request]:
    """Each task in a folder of its own, shown the same view of the model."""
    model = {}
    slices = tasks[0].step.slices
    if slices and checkpoint is not None:
        model["model"] = workspace / "model"
        lay_out(checkpoint, slices, model["model"])
    requests = []
    for number, task in enumerate(tasks):
        folder = workspace / str(number)
        folder.mkdir()
        inputs = _inputs(shop, task, folder / "inputs") | model
        requests.append(Request(task.step, inputs, folder))
    return requests


def _inputs(shop: Workshop, task: Task[Action], place: Path) -> dict[str, Path]:
    place.mkdir()
    inputs = {}
    for name, one in task.step.inputs:
        inputs[name] = place / name
        if isinstance(one, FileInput):
            inputs[name] = show_input(task.files[name], inputs[name])
        elif task.trees[name].is_file:
            inputs[name].symlink_to(shop.store.object_path(task.trees[name].entries[0]))
        else:
            shop.store.show(task.trees[name], inputs[name])
    return inputs


@contextlib.contextmanager
def _while_unchanged(
    shop: Workshop, tasks: Sequence[Task[Action]], checkpoint: Checkpoint | None
) -> Iterator[None]:
    """SourceError PHI106 if a source or an input is not the same at the end as it was when its
    digest was taken: whatever became of the work, a failure included, is due to that."""
    try:
        yield
    finally:
        error = sys.exception()
        if error is None or isinstance(error, PhiError | OSError):
            _check_sources(shop, tasks, checkpoint)


def _check_sources(
    shop: Workshop, tasks: Sequence[Task[Action]], checkpoint: Checkpoint | None
) -> None:
    name = tasks[0].step.name
    if checkpoint is not None and not shop.was_unchanged(checkpoint):
        raise changed_while_read(checkpoint.folder, name)
    for task in tasks:
        for one in task.files.values():
            if not is_unchanged(shop, one):
                raise changed_while_read(one.path, name)


def _check_inputs(shop: Workshop, tasks: Sequence[Task[Action]]) -> None:
    """A worker that runs as root can write to a link to an object. `has` throws such an object
    away, and nothing is recorded of what was built from it."""
    for task in tasks:
        for name, tree in task.trees.items():
            if not shop.store.has(tree):
                raise ActionError(
                    f"{task.step.name} changed its input {name}",
                    hint="a worker writes to its output and its scratch folder only; build again",
                )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _keep_log(shop: Workshop, log: Path, key: Digest) -> None:
    kept = shop.store.root / "logs" / f"{key.hex[:16]}.txt"
    with contextlib.suppress(OSError):
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(log, kept)
        os.utime(kept)
