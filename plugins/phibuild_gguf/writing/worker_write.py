"""Writes GGUF files straight from a checkpoint; runs under phibuild's Python.

Each tensor is a piece: what an earlier artifact holds is copied from there, and only the others are
quantized. Several artifacts of one checkpoint are made in one pass over it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import phiworker

from phibuild_gguf.format.layout import Placed
from phibuild_gguf.format.splits import WHOLE
from phibuild_gguf.format.types import IGNORE_IMATRIX, GgmlType
from phibuild_gguf.llama_cpp.quantize import Order, quantize
from phibuild_gguf.tensors.checkpoint import Wanted
from phibuild_gguf.tensors.imatrix import Importance, Importances
from phibuild_gguf.tensors.pieces import copy_into, digest_of, sound
from phibuild_gguf.writing.planned_files import planned

Progress = Callable[[int, str], None]


class Made(NamedTuple):
    """A tensor of a file: what it is made of, where it lies, and the name of its bytes."""

    wanted: Wanted
    type: GgmlType
    size: int
    offset: int
    importance: Importance | None
    imatrix: Path | None
    key: str


class File(NamedTuple):
    """A file that a job makes: the beginning of it is written, its tensors are to be filled in. A
    split has a key of its own, so that it can be kept as a whole."""

    job: phiworker.Job
    name: str
    path: Path
    key: str
    made: tuple[Made, ...]

    def remember(self, one: Made, sha256: str) -> None:
        self.job.remember(one.key, file=self.name, offset=one.offset, size=one.size, sha256=sha256)


def main(jobs: Sequence[phiworker.Job]) -> None:
    fill([file for job in jobs for file in begun(job)])


def begun(job: phiworker.Job) -> list[File]:
    """The files of a job that are still to be filled; one that is as it was made before is done."""
    contents = planned(job, job.tensors)
    counted = Counter(place.type.name for laid in contents.files for place in laid.tensors)
    print("types:", ", ".join(f"{name} {count}" for name, count in counted.most_common()))
    wanted = {one.name: one for one in contents.wanted}
    files = []
    for laid in contents.files:
        made = tuple(
            _made(job.identity, wanted[place.name], place, len(laid.start), contents.importances)
            for place in laid.tensors
        )
        file = File(
            job=job,
            name=laid.name,
            path=job.output if laid.name == WHOLE else job.output / laid.name,
            key=_key(["gguf file", hashlib.sha256(laid.start).hexdigest(), [m.key for m in made]]),
            made=made,
        )
        file.path.parent.mkdir(exist_ok=True)
        if laid.name == WHOLE or not _kept(file):
            file.path.write_bytes(laid.start)
            os.truncate(file.path, laid.size)
            files.append(file)
    return files


def _made(
    identity: str, wanted: Wanted, place: Placed, start: int, importances: Importances | None
) -> Made:
    importance = None
    if importances and place.type != wanted.stored and place.type.name not in IGNORE_IMATRIX:
        importance = importances.of_tensor(wanted)
    facts = [
        "gguf tensor",
        identity,
        [[one.dtype, one.sha256] for one in wanted.sources],
        list(wanted.shape),
        wanted.stored.name,
        place.type.name,
        importance.sha256 if importance else None,
    ]
    return Made(
        wanted=wanted,
        type=place.type,
        size=place.size,
        offset=start + place.offset,
        importance=importance,
        imatrix=importances.path if importances and importance else None,
        key=_key(facts),
    )


def _key(facts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _kept(split: File) -> bool:
    """Whether all of the split was there already: then no byte of it is copied."""
    piece = split.job.recall([split.key]).get(split.key)
    if piece is not None and sound({split.key: piece}, threads=1):
        try:
            split.path.hardlink_to(piece.path)
        except OSError:
            return False  # its tensors are known, too, and can be copied
        split.job.written(piece.sha256, file=split.name)
        print(f"kept: {split.name}")
        return True
    return False


def fill(files: Sequence[File]) -> None:
    """Copy what is known, quantize the rest, and remember all of it."""
    if not files:
        return
    job = files[0].job
    whole = sum(one.size for file in files for one in file.made) or 1
    done = 0

    def progress(size: int, text: str) -> None:
        nonlocal done
        done += size
        job.progress(done / whole, text)

    copied, digests = _copied(files, progress)
    made = _quantized(files, copied, progress)
    for file in files:
        size = file.path.stat().st_size
        sha256 = digests.get(file.path) or digest_of(file.path, 0, size)
        file.job.written(sha256, file=file.name)
        if file.name != WHOLE:
            file.job.remember(file.key, file=file.name, offset=0, size=size, sha256=sha256)
    summary = f"tensors: {made} quantized, {len(copied)} copied"
    print(summary)
    job.progress(1.0, summary)


def _copied(files: Sequence[File], progress: Progress) -> tuple[set[str], dict[Path, str]]:
    """Copy the tensors that were made before; the keys of those whose bytes are sound, and the
    digests of files that consist of such. They are checked meanwhile: one that is not was copied in
    vain, and is made again."""
    job = files[0].job
    sizes = {one.key: one.size for file in files for one in file.made}
    known = {key: piece for key, piece in job.recall(sizes).items() if piece.size == sizes[key]}
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(sound, known, threads=job.threads)
        for file in files:
            copy_into(
                file.path,
                [(known[one.key], one.offset) for one in file.made if one.key in known],
                on_copied=lambda size: progress(size, "copying tensors that were made before"),
            )
        complete = [file.path for file in files if all(one.key in known for one in file.made)]
        digests = {path: digest_of(path, 0, path.stat().st_size) for path in complete}
        good = checking.result()
    for file in files:
        for one in file.made:
            if one.key in good:
                file.remember(one, known[one.key].sha256)
            elif one.key in known:
                print(f"damaged: {one.wanted.name}, as it was kept")
                digests.pop(file.path, None)
    return good, digests


def _quantized(files: Sequence[File], copied: Container[str], progress: Progress) -> int:
    """Make the tensors that were not copied, each once for all files; how many they are."""
    places: dict[str, list[tuple[File, Made]]] = {}
    for file in files:
        for one in file.made:
            if one.key not in copied:
                places.setdefault(one.key, []).append((file, one))
    keys = {_order(filled): key for key, filled in places.items()}

    def on_done(order: Order) -> None:
        filled = places[keys[order]]
        size = filled[0][1].size
        sha256 = digest_of(*order.places[0], size)
        for file, one in filled:
            file.remember(one, sha256)
        progress(size * len(filled), order.wanted.name)

    if keys:
        quantize(files[0].job, list(keys), on_done=on_done)
    for order in keys:
        print(f"quantized: {order.wanted.name}")
    return len(keys)


def _order(filled: Sequence[tuple[File, Made]]) -> Order:
    _, one = filled[0]
    places = tuple((file.path, made.offset) for file, made in filled)
    return Order(one.wanted, one.type, one.importance, one.imatrix, places)


if __name__ == "__main__":
    phiworker.run_batch(main)
