"""The files of a GGUF artifact, planned before any weight is read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from phiworker import Job, StoredTensor, WorkerError

from phibuild_gguf.format.file_types import NUMBERS
from phibuild_gguf.format.splits import FileLayout, file_layouts
from phibuild_gguf.format.types import GgmlType
from phibuild_gguf.format.values import Values, read_values, uint32
from phibuild_gguf.llama_cpp.chosen_types import chosen_types
from phibuild_gguf.tensors.checkpoint import OutputTensor, in_layer_order, output_tensors
from phibuild_gguf.tensors.demands import check_choice, check_imatrix, check_needed_entries, demands
from phibuild_gguf.tensors.imatrix import Importances
from phibuild_gguf.tensors.imatrix_copy import copy_without_paths
from phibuild_gguf.tensors.needed import check_tensors

# The file records this name instead of the path of the imatrix.
_IMATRIX = "imatrix.gguf"
_FILE_TYPE, _VERSION = "general.file_type", "general.quantization_version"
_QUANTIZATION_VERSION = uint32(2)  # GGML_QNT_VERSION


class Contents(NamedTuple):
    """The tensors of an artifact, the files that hold them, and the imatrix."""

    tensors: Sequence[OutputTensor]
    files: Sequence[FileLayout]
    importances: Importances | None


def plan_contents(job: Job, sources: Iterable[StoredTensor]) -> Contents:
    """What the recipe gives for a model with these tensors, of which only name, dtype and shape are
    read. WorkerError for what cannot be built."""
    job = _with_allocation(job)
    tensors = tensors_of_job(job, sources)
    values = converter_values(job)
    importances = None
    if job.recipe["quant"] is None:
        types = [tensor.stored for tensor in tensors]
        values = converted_values(values, tensors)
    else:
        tensors = in_layer_order(tensors)
        importances = imatrix_of_job(job, tensors)
        types = _types(job, tensors, values, importances)
        values = quantized_values(values, job.recipe["quant"], importances)
    described = [
        (tensor.name, tensor.shape, kind) for tensor, kind in zip(tensors, types, strict=True)
    ]
    files = file_layouts(values, described, limit=job.recipe["split_max_size"])
    _check_size(job, sum(file.size for file in files))
    return Contents(tensors, files, importances)


def tensors_of_recipe(job: Job) -> list[StoredTensor]:
    """The checkpoint's tensors by the recipe field `tensors`: name, dtype and shape only."""
    return [
        StoredTensor(
            name=name, dtype=dtype, shape=tuple(shape), sha256="", path=Path(), offset=0, size=0
        )
        for name, dtype, shape in job.recipe["tensors"]
    ]


def tensors_of_job(job: Job, sources: Iterable[StoredTensor]) -> list[OutputTensor]:
    """The tensors of the file in the converter's order; WorkerError if they are not exactly those
    that llama.cpp needs."""
    config = json.loads((job.inputs["model"] / "config.json").read_text("utf-8"))
    outtype = job.recipe["outtype"]
    tensors = output_tensors(config, sources, outtype=outtype, scratch=job.scratch)
    check_tensors(config, tensors)
    return tensors


def imatrix_of_job(job: Job, tensors: Sequence[OutputTensor]) -> Importances | None:
    """The imatrix, if the job has one; WorkerError PHI203 for one of another model."""
    if "imatrix" not in job.inputs:
        return None
    path = job.scratch / _IMATRIX
    header = copy_without_paths(job.inputs["imatrix"], path)
    check_imatrix(job.recipe, tensors, header)
    return Importances(path, header, job.recipe)


def converter_values(job: Job) -> Values:
    """The metadata that the action gguf.metadata wrote."""
    return read_values(job.inputs["metadata"])


def converted_values(values: Values, tensors: Sequence[OutputTensor]) -> Values:
    """The metadata with the two keys that depend on the types of tensors, where the converter has
    them: among those of the architecture (conversion/phi.py), and after them."""
    floats = {tensor.stored.name for tensor in tensors} & {"f16", "bf16"} or {"f32"}
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


def quantized_values(values: Values, quant: str, importances: Importances | None) -> Values:
    """The metadata as llama-quantize writes it: the keys that it sets come last."""
    result = {key: value for key, value in values.items() if key not in (_FILE_TYPE, _VERSION)}
    result |= {_VERSION: _QUANTIZATION_VERSION, _FILE_TYPE: uint32(NUMBERS[quant])}
    return result | (importances.values(_IMATRIX) if importances else {})


def _with_allocation(job: Job) -> Job:
    """The job with the types chosen for `target_bytes` in its recipe."""
    if "allocation" not in job.inputs:
        return job
    chosen = json.loads(job.inputs["allocation"].read_text("utf-8"))
    return dataclasses.replace(job, recipe=job.recipe | chosen)


def _check_size(job: Job, size: int) -> None:
    """WorkerError PHI701 if the size is not the one that the types were chosen for."""
    if size != job.recipe.get("bytes", size):
        raise WorkerError(
            f"the file would have {size:,} bytes instead of the expected {job.recipe['bytes']:,}",
            hint="this is a bug in phibuild: please report it",
            code="PHI701",
        )


def _types(
    job: Job, tensors: Sequence[OutputTensor], values: Values, importances: Importances | None
) -> list[GgmlType]:
    demanded = demands(job.recipe, tensors)
    chosen = chosen_types(job, tensors, values, _IMATRIX if importances else None)
    check_choice(demanded, chosen)
    check_needed_entries(job.recipe["quant"], chosen, importances.names if importances else set())
    return [chosen[tensor.name] for tensor in tensors]
