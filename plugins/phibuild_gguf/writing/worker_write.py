"""Writes GGUF files straight from a checkpoint; runs under phibuild's Python.

Each tensor is a piece: those of earlier artifacts are copied, the others are quantized. Several
artifacts of one checkpoint are written in one pass over it.
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

from phibuild_gguf.format.layout import TensorPlace
from phibuild_gguf.format.splits import WHOLE
from phibuild_gguf.format.types import IGNORE_IMATRIX, GgmlType
from phibuild_gguf.llama_cpp.quantize import Encoding, quantize
from phibuild_gguf.tensors.checkpoint import OutputTensor
from phibuild_gguf.tensors.imatrix import Importance, Importances
from phibuild_gguf.tensors.pieces import copy_into, digest_of, intact
from phibuild_gguf.writing.planned_files import plan_contents

Progress = Callable[[int, str], None]


class FileTensor(NamedTuple):
    """A tensor of a file: its source, type and place, and the key of its bytes."""

    source: OutputTensor
    type: GgmlType
    size: int
    offset: int
    importance: Importance | None
    imatrix: Path | None
    key: str


class OutputFile(NamedTuple):
    """A file of a job whose beginning is written and whose tensors are not. The key of a split is
    that of the whole file."""

    job: phiworker.Job
    name: str
    path: Path
    key: str
    tensors: tuple[FileTensor, ...]

    def remember(self, tensor: FileTensor, sha256: str) -> None:
        self.job.remember(
            tensor.key, file=self.name, offset=tensor.offset, size=tensor.size, sha256=sha256
        )


def main(jobs: Sequence[phiworker.Job]) -> None:
    fill([file for job in jobs for file in create_files(job)])


def create_files(job: phiworker.Job) -> list[OutputFile]:
    """Create the files of a job, and return those to fill: an unchanged split is only linked."""
    contents = plan_contents(job, job.tensors)
    counts = Counter(place.type.name for layout in contents.files for place in layout.tensors)
    print("types:", ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    sources = {tensor.name: tensor for tensor in contents.tensors}
    files = []
    for layout in contents.files:
        tensors = tuple(
            _file_tensor(
                job.identity, sources[place.name], place, len(layout.start), contents.importances
            )
            for place in layout.tensors
        )
        start_digest = hashlib.sha256(layout.start).hexdigest()
        file = OutputFile(
            job=job,
            name=layout.name,
            path=job.output if layout.name == WHOLE else job.output / layout.name,
            key=_key(["gguf file", start_digest, [tensor.key for tensor in tensors]]),
            tensors=tensors,
        )
        file.path.parent.mkdir(exist_ok=True)
        if layout.name == WHOLE or not _link_split(file):
            file.path.write_bytes(layout.start)
            os.truncate(file.path, layout.size)
            files.append(file)
    return files


def _file_tensor(
    identity: str,
    source: OutputTensor,
    place: TensorPlace,
    start: int,
    importances: Importances | None,
) -> FileTensor:
    importance = None
    if importances and place.type != source.stored and place.type.name not in IGNORE_IMATRIX:
        importance = importances.of_tensor(source)
    facts = [
        "gguf tensor",
        identity,
        [[stored.dtype, stored.sha256] for stored in source.sources],
        list(source.shape),
        source.stored.name,
        place.type.name,
        importance.sha256 if importance else None,
    ]
    return FileTensor(
        source=source,
        type=place.type,
        size=place.size,
        offset=start + place.offset,
        importance=importance,
        imatrix=importances.path if importances and importance else None,
        key=_key(facts),
    )


def _key(facts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _link_split(split: OutputFile) -> bool:
    """Link to an earlier copy of the whole split, so that no byte is copied; False without one."""
    piece = split.job.recall([split.key]).get(split.key)
    if piece is None or not intact({split.key: piece}, threads=1):
        return False
    try:
        split.path.hardlink_to(piece.path)
    except OSError:
        return False  # its tensors can be copied
    split.job.written(piece.sha256, file=split.name)
    print(f"kept: {split.name}")
    return True


def fill(files: Sequence[OutputFile]) -> None:
    """Copy known tensors, quantize the others, and remember all of them."""
    if not files:
        return
    job = files[0].job
    total = sum(tensor.size for file in files for tensor in file.tensors) or 1
    done = 0

    def progress(size: int, text: str) -> None:
        nonlocal done
        done += size
        job.progress(done / total, text)

    copied, digests = _copy(files, progress)
    quantized = _quantize(files, copied, progress)
    for file in files:
        size = file.path.stat().st_size
        sha256 = digests.get(file.path) or digest_of(file.path, 0, size)
        file.job.written(sha256, file=file.name)
        if file.name != WHOLE:
            file.job.remember(file.key, file=file.name, offset=0, size=size, sha256=sha256)
    summary = f"tensors: {quantized} quantized, {len(copied)} copied"
    print(summary)
    job.progress(1.0, summary)


def _copy(files: Sequence[OutputFile], progress: Progress) -> tuple[set[str], dict[Path, str]]:
    """Copy the tensors of earlier artifacts. Returns the keys of those that are intact, and the
    digests of files that consist of such tensors. Pieces are checked while they are copied; a
    damaged one is quantized again."""
    job = files[0].job
    sizes = {tensor.key: tensor.size for file in files for tensor in file.tensors}
    known = {key: piece for key, piece in job.recall(sizes).items() if piece.size == sizes[key]}
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(intact, known, threads=job.threads)
        for file in files:
            copy_into(
                file.path,
                [
                    (known[tensor.key], tensor.offset)
                    for tensor in file.tensors
                    if tensor.key in known
                ],
                on_copied=lambda size: progress(size, "copying tensors of earlier artifacts"),
            )
        complete = [
            file.path for file in files if all(tensor.key in known for tensor in file.tensors)
        ]
        digests = {path: digest_of(path, 0, path.stat().st_size) for path in complete}
        intact_keys = checking.result()
    for file in files:
        for tensor in file.tensors:
            if tensor.key in intact_keys:
                file.remember(tensor, known[tensor.key].sha256)
            elif tensor.key in known:
                print(f"damaged: {tensor.source.name} in an earlier artifact")
                digests.pop(file.path, None)
    return intact_keys, digests


def _quantize(files: Sequence[OutputFile], copied: Container[str], progress: Progress) -> int:
    """Quantize the tensors that were not copied, each once for all files; returns their number."""
    places: dict[str, list[tuple[OutputFile, FileTensor]]] = {}
    for file in files:
        for tensor in file.tensors:
            if tensor.key not in copied:
                places.setdefault(tensor.key, []).append((file, tensor))
    encodings = {_encoding(same): same for same in places.values()}

    def on_done(encoding: Encoding) -> None:
        same = encodings[encoding]
        size = same[0][1].size
        sha256 = digest_of(*encoding.places[0], size)
        for file, tensor in same:
            file.remember(tensor, sha256)
        progress(size * len(same), encoding.tensor.name)

    if encodings:
        quantize(files[0].job, list(encodings), on_done=on_done)
    for encoding in encodings:
        print(f"quantized: {encoding.tensor.name}")
    return len(encodings)


def _encoding(same: Sequence[tuple[OutputFile, FileTensor]]) -> Encoding:
    _, first = same[0]
    places = tuple((file.path, tensor.offset) for file, tensor in same)
    return Encoding(first.source, first.type, first.importance, first.imatrix, places)


if __name__ == "__main__":
    phiworker.run_batch(main)
