"""Writes GGUF files straight from a checkpoint; runs under phibuild's Python.

Each tensor is a piece: what an earlier artifact holds is copied from there, and only the others are
quantized. Several artifacts of one checkpoint are made in one pass over it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import phiworker

if TYPE_CHECKING or __package__:
    from phibuild_gguf.checkpoint_tensors import Wanted, in_order_of_layers, wanted_tensors
    from phibuild_gguf.chosen_types import chosen_types
    from phibuild_gguf.expectations import check_choice, check_imatrix, check_starved, demands
    from phibuild_gguf.file_types import NUMBERS
    from phibuild_gguf.ggml_types import IGNORE_IMATRIX, GgmlType
    from phibuild_gguf.gguf_header import read_header
    from phibuild_gguf.gguf_layout import Placed
    from phibuild_gguf.gguf_splits import WHOLE, laid_out
    from phibuild_gguf.gguf_values import read_values, uint32
    from phibuild_gguf.imatrix_entries import Importance, Importances
    from phibuild_gguf.neutral_imatrix import copy_neutral
    from phibuild_gguf.pieces import copy_into, digest_of, sound
    from phibuild_gguf.quantizing import Order, quantize
else:
    from checkpoint_tensors import Wanted, in_order_of_layers, wanted_tensors
    from chosen_types import chosen_types
    from expectations import check_choice, check_imatrix, check_starved, demands
    from file_types import NUMBERS
    from ggml_types import IGNORE_IMATRIX, GgmlType
    from gguf_header import read_header
    from gguf_layout import Placed
    from gguf_splits import WHOLE, laid_out
    from gguf_values import read_values, uint32
    from imatrix_entries import Importance, Importances
    from neutral_imatrix import copy_neutral
    from pieces import copy_into, digest_of, sound
    from quantizing import Order, quantize

Values = dict[str, bytes]

# The file holds this name and not the path of the imatrix.
_IMATRIX = "imatrix.gguf"
_FILE_TYPE, _VERSION = "general.file_type", "general.quantization_version"
_QUANTIZATION_VERSION = uint32(2)  # GGML_QNT_VERSION


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
    config = json.loads((job.inputs["model"] / "config.json").read_text("utf-8"))
    wanted = wanted_tensors(config, job.tensors, outtype=job.recipe["outtype"], scratch=job.scratch)
    values = read_values(job.inputs["metadata"], read_header(job.inputs["metadata"]))
    importances = None
    if job.recipe["file_type"] is None:
        types = [one.stored for one in wanted]
        values = converted_values(values, wanted)
    else:
        wanted = in_order_of_layers(wanted)
        importances = _importances(job, wanted)
        types = _types(job, wanted, values, importances)
        values = quantized_values(values, job.recipe["file_type"], importances)
    counted = Counter(kind.name for kind in types)
    print("types:", ", ".join(f"{name} {count}" for name, count in counted.most_common()))
    tensors = [(one.name, one.shape, kind) for one, kind in zip(wanted, types, strict=True)]
    by_name = {one.name: one for one in wanted}
    files = []
    for laid in laid_out(values, tensors, limit=job.recipe["split_max_size"]):
        made = tuple(
            _made(job.identity, by_name[place.name], place, len(laid.start), importances)
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


def converted_values(values: Values, wanted: Sequence[Wanted]) -> Values:
    """The metadata with the two keys that tell the types of tensors, where the converter has them:
    among those of the architecture (conversion/phi.py), and after them."""
    floats = {one.stored.name for one in wanted} & {"f16", "bf16"} or {"f32"}
    file_type = {_FILE_TYPE: uint32(NUMBERS[floats.pop().upper()])}
    version = {_VERSION: _QUANTIZATION_VERSION}
    result: Values = {}
    for key, value in values.items():
        if key.endswith(".attention.sliding_window") or key == "tokenizer.ggml.add_bos_token":
            result.update(file_type)
        if key == "tokenizer.ggml.model":
            result |= version
        result[key] = value
    return result


def quantized_values(values: Values, file_type: str, importances: Importances | None) -> Values:
    """The metadata as llama-quantize leaves it: what it sets comes last."""
    result = {key: value for key, value in values.items() if key not in (_FILE_TYPE, _VERSION)}
    result |= {_VERSION: _QUANTIZATION_VERSION, _FILE_TYPE: uint32(NUMBERS[file_type])}
    return result | (importances.values(_IMATRIX) if importances else {})


def _importances(job: phiworker.Job, wanted: Sequence[Wanted]) -> Importances | None:
    if "imatrix" not in job.inputs:
        return None
    path = job.scratch / _IMATRIX
    header = copy_neutral(job.inputs["imatrix"], path)
    check_imatrix(job.recipe, wanted, header)
    return Importances(path, header, job.recipe)


def _types(
    job: phiworker.Job, wanted: Sequence[Wanted], values: Values, importances: Importances | None
) -> list[GgmlType]:
    demanded = demands(job.recipe, wanted)
    chosen = chosen_types(job, wanted, values, _IMATRIX if importances else None)
    check_choice(demanded, chosen)
    check_starved(job.recipe["file_type"], chosen, importances.names if importances else set())
    return [chosen[one.name] for one in wanted]


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

    sizes = {one.key: one.size for file in files for one in file.made}
    known = {key: piece for key, piece in job.recall(sizes).items() if piece.size == sizes[key]}
    good = sound(known, threads=job.threads)
    for file in files:
        copied = [one for one in file.made if one.key in good]
        copy_into(
            file.path,
            [(known[one.key], one.offset) for one in copied],
            on_copied=lambda size: progress(size, "copying tensors that were made before"),
        )
        for one in copied:
            file.remember(one, known[one.key].sha256)
    places: dict[str, list[tuple[File, Made]]] = {}
    for file in files:
        for one in file.made:
            if one.key in known and one.key not in good:
                print(f"damaged: {one.wanted.name}, as it was kept")
            if one.key not in good:
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
        quantize(job, list(keys), on_done=on_done)
    for order in keys:
        print(f"quantized: {order.wanted.name}")
    for file in files:
        if file.name != WHOLE:
            size = file.path.stat().st_size
            sha256 = digest_of(file.path, 0, size)
            file.job.remember(file.key, file=file.name, offset=0, size=size, sha256=sha256)
    summary = f"tensors: {len(keys)} quantized, {len(good)} copied"
    print(summary)
    job.progress(1.0, summary)


def _order(filled: Sequence[tuple[File, Made]]) -> Order:
    _, one = filled[0]
    places = tuple((file.path, made.offset) for file, made in filled)
    return Order(one.wanted, one.type, one.importance, one.imatrix, places)


if __name__ == "__main__":
    phiworker.run_batch(main)
