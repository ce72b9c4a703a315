"""Writes a GGUF file straight from a checkpoint; runs under phibuild's Python.

Each tensor is a piece: what an earlier artifact holds is copied from there, and only the others are
quantized.
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
    from phibuild_gguf.gguf_layout import Placed, beginning, padded, placed
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
    from gguf_layout import Placed, beginning, padded, placed
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
    """A tensor of the file: what it is made of, where it lies, and the name of its bytes."""

    wanted: Wanted
    place: Placed
    importance: Importance | None
    key: str


def main(job: phiworker.Job) -> None:
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
    places, size = placed(
        (one.name, one.shape, kind) for one, kind in zip(wanted, types, strict=True)
    )
    start = beginning(padded(values, places), places)
    job.output.write_bytes(start)
    os.truncate(job.output, len(start) + size)
    made = [
        _made(job.identity, one, place, importances)
        for one, place in zip(wanted, places, strict=True)
    ]
    _fill(job, made, len(start), importances.path if importances else None)
    counted = Counter(kind.name for kind in types)
    print("types:", ", ".join(f"{name} {count}" for name, count in counted.most_common()))


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


def _made(identity: str, wanted: Wanted, place: Placed, importances: Importances | None) -> Made:
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


def _fill(job: phiworker.Job, made: Sequence[Made], start: int, imatrix: Path | None) -> None:
    """Copy what is known, quantize the rest, and remember all of it."""
    whole = sum(one.place.size for one in made) or 1
    done = 0

    def progress(size: int, text: str) -> None:
        nonlocal done
        done += size
        job.progress(done / whole, text)

    def remember(one: Made, sha256: str) -> None:
        offset = start + one.place.offset
        job.remember(one.key, offset=offset, size=one.place.size, sha256=sha256)

    known = job.recall(one.key for one in made)
    pieces = {
        index: known[one.key]
        for index, one in enumerate(made)
        if one.key in known and known[one.key].size == one.place.size
    }
    good = sound(pieces, threads=job.threads)
    copy_into(
        job.output,
        [(pieces[index], start + made[index].place.offset) for index in good],
        on_copied=lambda size: progress(size, "copying tensors that were made before"),
    )
    for index, one in enumerate(made):
        if index in good:
            remember(one, pieces[index].sha256)
        elif index in pieces:
            print(f"damaged: {one.place.name}, as it was kept")
    rest = [one for index, one in enumerate(made) if index not in good]

    def on_done(number: int) -> None:
        one = rest[number]
        remember(one, digest_of(job.output, start + one.place.offset, one.place.size))
        progress(one.place.size, one.place.name)

    if rest:
        orders = [
            Order(one.wanted, one.place.type, start + one.place.offset, one.importance)
            for one in rest
        ]
        quantize(job, orders, imatrix, on_done=on_done)
    for one in rest:
        print(f"quantized: {one.place.name}")
    summary = f"tensors: {len(rest)} quantized, {len(good)} copied"
    print(summary)
    job.progress(1.0, summary)


if __name__ == "__main__":
    phiworker.run(main)
