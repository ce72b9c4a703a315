"""Writes a GGUF file straight from a checkpoint; runs under phibuild's Python.

Each tensor is a piece: what an earlier artifact holds is copied from there, and only the others go
through phi-quantize. llama-quantize itself says which type a tensor gets, by a dry run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import phiworker

if TYPE_CHECKING:
    from phibuild_gguf.checkpoint_tensors import (
        SOURCE_TYPES,
        Wanted,
        in_order_of_layers,
        wanted_tensors,
    )
    from phibuild_gguf.chosen_types import chosen_types
    from phibuild_gguf.file_types import NUMBERS
    from phibuild_gguf.ggml_types import IGNORE_IMATRIX, GgmlType
    from phibuild_gguf.gguf_header import read_header
    from phibuild_gguf.gguf_layout import Placed, head, placed, read_entries, string, u32
    from phibuild_gguf.imatrix_entries import Importance, Importances
    from phibuild_gguf.pieces import copy_into, digest_of, sound
    from phibuild_gguf.programs import Failure, run_program
else:
    from checkpoint_tensors import SOURCE_TYPES, Wanted, in_order_of_layers, wanted_tensors
    from chosen_types import chosen_types
    from file_types import NUMBERS
    from ggml_types import IGNORE_IMATRIX, GgmlType
    from gguf_header import read_header
    from gguf_layout import Placed, head, placed, read_entries, string, u32
    from imatrix_entries import Importance, Importances
    from pieces import copy_into, digest_of, sound
    from programs import Failure, run_program

_QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION


class Made(NamedTuple):
    """A tensor of the file: what it is made of, where it lies, and the key of its bytes."""

    wanted: Wanted
    place: Placed
    importance: Importance | None
    key: str


def main(job: phiworker.Job) -> None:
    file_type = job.recipe["file_type"]
    architecture = json.loads((job.inputs["model"] / "config.json").read_text("utf-8"))
    tensors = wanted_tensors(
        architecture, job.tensors, outtype=job.recipe["outtype"], scratch=job.scratch
    )
    entries = read_entries(job.inputs["metadata"], read_header(job.inputs["metadata"]))
    importances = None
    if file_type is None:
        types = {one.name: one.stored for one in tensors}
        entries["general.file_type"] = u32(NUMBERS[_outtype(tensors)])
    else:
        tensors = in_order_of_layers(tensors)
        importances = Importances.of(job)
        types = chosen_types(job, tensors, entries, importances)
        entries = _quantized(entries, NUMBERS[file_type], importances)
    places, size = placed((one.name, one.shape, types[one.name]) for one in tensors)
    made = [
        _made(job.identity, wanted, place, importances) for wanted, place in zip(tensors, places)
    ]
    start = head(entries, places, pad=True)
    job.output.write_bytes(start)
    os.truncate(job.output, len(start) + size)
    _fill(job, made, len(start), importances)
    counted = Counter(place.type.name for place in places)
    print("types:", ", ".join(f"{name} {count}" for name, count in counted.most_common()))


def _fill(
    job: phiworker.Job, made: Sequence[Made], start: int, importances: Importances | None
) -> None:
    """Copy what is known, quantize the rest, and remember all of it."""
    known = job.recall(one.key for one in made)
    pieces = {
        index: known[one.key]
        for index, one in enumerate(made)
        if one.key in known and known[one.key].size == one.place.size
    }
    whole = sum(one.place.size for one in made) or 1
    done = 0

    def progress(size: int, text: str) -> None:
        nonlocal done
        done += size
        job.progress(done / whole, text)

    copied = sound(pieces, threads=job.threads)
    for index in sorted(set(pieces) - copied):
        print(f"{made[index].place.name}: the bytes that were kept are damaged")
    copy_into(
        job.output,
        [(pieces[index], start + made[index].place.offset) for index in copied],
        on_copied=lambda size: progress(size, "tensors that were made before"),
    )
    for index in copied:
        _remember(job, made[index], start, pieces[index].sha256)
    rest = [one for index, one in enumerate(made) if index not in copied]

    def on_done(one: Made) -> None:
        place = one.place
        digest = digest_of(job.output, start + place.offset, place.size)
        _remember(job, one, start, digest)
        progress(place.size, place.name)

    if rest:
        _quantize(job, rest, start, importances, on_done)
    summary = f"tensors: {len(rest)} quantized, {len(copied)} copied"
    print(summary)
    for one in rest:
        print(f"quantized: {one.place.name}")
    job.progress(1.0, summary)


def _remember(job: phiworker.Job, one: Made, start: int, sha256: str) -> None:
    job.remember(one.key, offset=start + one.place.offset, size=one.place.size, sha256=sha256)


def _made(
    identity: str, wanted: Wanted, place: Placed, importances: Importances | None
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
    return Made(wanted, place, importance, hashlib.sha256(json.dumps(facts).encode()).hexdigest())
