"""What the files of a GGUF artifact will be, before any weight is read.

Standard library only; a part of the workers that write them and that tell their size.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from phiworker import Job, StoredTensor, WorkerError

from phibuild_gguf.format.file_types import NUMBERS
from phibuild_gguf.format.header import read_header
from phibuild_gguf.format.splits import Laid, laid_out
from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.format.values import read_values, uint32
from phibuild_gguf.llama_cpp.chosen_types import chosen_types
from phibuild_gguf.tensors.checkpoint import Wanted, in_order_of_layers, wanted_tensors
from phibuild_gguf.tensors.demands import check_choice, check_imatrix, check_starved, demands
from phibuild_gguf.tensors.imatrix import Importances
from phibuild_gguf.tensors.imatrix_copy import copy_neutral
from phibuild_gguf.tensors.needed import check_tensors

Values = dict[str, bytes]

# The file holds this name and not the path of the imatrix.
_IMATRIX = "imatrix.gguf"
_FILE_TYPE, _VERSION = "general.file_type", "general.quantization_version"
_QUANTIZATION_VERSION = uint32(2)  # GGML_QNT_VERSION


class Contents(NamedTuple):
    """The tensors that an artifact will have, the files that hold them, and what an imatrix says of
    them."""

    wanted: Sequence[Wanted]
    files: Sequence[Laid]
    importances: Importances | None


def planned(job: Job, tensors: Iterable[StoredTensor]) -> Contents:
    """The contents that the recipe asks for of a model with these tensors, of which name, dtype and
    shape are looked at here. WorkerError for what cannot be made."""
    job = _allocated(job)
    wanted = wanted_of(job, tensors)
    values = converter_values(job)
    importances = None
    if job.recipe["file_type"] is None:
        types = [one.stored for one in wanted]
        values = converted_values(values, wanted)
    else:
        wanted = in_order_of_layers(wanted)
        importances = importances_of(job, wanted)
        types = _types(job, wanted, values, importances)
        values = quantized_values(values, job.recipe["file_type"], importances)
    described = [(one.name, one.shape, kind) for one, kind in zip(wanted, types, strict=True)]
    files = laid_out(values, described, limit=job.recipe["split_max_size"])
    _check_size(job, sum(file.size for file in files))
    return Contents(wanted, files, importances)


def wanted_of(job: Job, tensors: Iterable[StoredTensor]) -> list[Wanted]:
    """The tensors of the file in the converter's order; WorkerError if they are not exactly those
    that llama.cpp needs."""
    config = json.loads((job.inputs["model"] / "config.json").read_text("utf-8"))
    outtype = job.recipe["outtype"]
    wanted = wanted_tensors(config, tensors, outtype=outtype, scratch=job.scratch)
    check_tensors(config, wanted)
    return wanted


def converter_values(job: Job) -> Values:
    """The metadata as the converter leaves it."""
    return read_values(job.inputs["metadata"], read_header(job.inputs["metadata"]))


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


def importances_of(job: Job, wanted: Sequence[Wanted]) -> Importances | None:
    """What the imatrix says, if there is one; WorkerError PHI203 for one of another model."""
    if "imatrix" not in job.inputs:
        return None
    path = job.scratch / _IMATRIX
    header = copy_neutral(job.inputs["imatrix"], path)
    check_imatrix(job.recipe, wanted, header)
    return Importances(path, header, job.recipe)


def _allocated(job: Job) -> Job:
    """With the overrides that were chosen for `target_bytes`, as if the recipe had them."""
    if "allocation" not in job.inputs:
        return job
    chosen = json.loads(job.inputs["allocation"].read_text("utf-8"))
    return dataclasses.replace(job, recipe=job.recipe | chosen)


def _check_size(job: Job, size: int) -> None:
    """WorkerError PHI701 if the file is not as large as the choice of its types reckoned with."""
    if size != job.recipe.get("bytes", size):
        raise WorkerError(
            f"the file would have {size:,} bytes where {job.recipe['bytes']:,} were reckoned with",
            hint="this is a fault in phibuild: please report it",
            code="PHI701",
        )


def _types(
    job: Job, wanted: Sequence[Wanted], values: Values, importances: Importances | None
) -> list[GgmlType]:
    demanded = demands(job.recipe, wanted)
    chosen = chosen_types(job, wanted, values, _IMATRIX if importances else None)
    check_choice(demanded, chosen)
    check_starved(job.recipe["file_type"], chosen, importances.names if importances else set())
    return [chosen[one.name] for one in wanted]
