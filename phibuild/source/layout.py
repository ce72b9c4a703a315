"""Compares the tensors of a checkpoint with its config.json, from the headers alone."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Protocol

from phibuild.model.errors import SourceError
from phibuild.source.families import (
    EMBEDDING,
    FAMILIES,
    HEAD,
    Fields,
    dimensions,
    expected_tensors,
)
from phibuild.source.rope import check_rope

_FLOATS = ("BF16", "F16", "F32")
_TORCH_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_TABLES = (".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached")


class TensorInfo(Protocol):
    """A tensor as in the header of a safetensors file; `shape` is (out, in)."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def is_leftover(name: str) -> bool:
    """Whether a tensor is a rotary table that older transformers saved with the weights. Every
    toolkit computes it from config.json."""
    return f".{name}".endswith(_TABLES)


def check_tensors(folder: Path, fields: Fields, tensors: Iterable[TensorInfo]) -> None:
    """Compare the tensors with those that config.json implies: `fields` are its canonical fields
    with the family's defaults. A `model_type` that is not a Phi family is not checked.

    SourceError PHI107 names missing, unexpected, mis-shaped and mis-typed tensors, the likeliest
    cause and the remedy; PHI103 if a size in config.json is not usable.
    """
    stored = {tensor.name: tensor for tensor in tensors}
    if not stored:
        raise SourceError(
            f"{folder} has safetensors files without any tensor",
            hint="fetch the weights again, or save the checkpoint again",
            code="PHI107",
        )
    family = FAMILIES.get(fields.get("model_type", ""))
    if family is None:
        return
    size = dimensions(fields)
    check_rope(size)
    _check_dtypes(folder, stored.values())
    # A config.json may imply any number of tensors: those beyond these are missing anyway.
    implied = islice(expected_tensors(family, size), 4 * len(stored) + 4096)
    expected = {tensor.name: tensor.shape for tensor in implied}
    optional = {HEAD: expected[EMBEDDING]} if fields["tie_word_embeddings"] else {}
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    if optional | shapes != optional | expected:
        from phibuild.source.layout_causes import refusal  # for errors only

        raise refusal(folder, fields, stored=shapes, expected=expected, optional=optional)


def torch_dtype(tensors: Iterable[TensorInfo]) -> str | None:
    """The narrowest dtype that holds every value of the checkpoint, by torch's name. config.json
    may name another one, to which toolkits convert the weights. None for other dtypes than BF16,
    F16 and F32."""
    dtypes = {tensor.dtype for tensor in tensors}
    if not dtypes or not dtypes <= _TORCH_DTYPES.keys():
        return None
    return _TORCH_DTYPES[dtypes.pop()] if len(dtypes) == 1 else "float32"


def _check_dtypes(folder: Path, tensors: Iterable[TensorInfo]) -> None:
    odd = [tensor for tensor in tensors if tensor.dtype not in _FLOATS]
    if not odd:
        return
    from phibuild.source.layout_causes import some_of

    listed = some_of([f"{tensor.name} ({tensor.dtype})" for tensor in odd])
    if all(tensor.dtype == "F64" for tensor in odd):
        cause, cure = "weights have 64 bits, which no toolkit keeps", "save the model as float32"
    else:
        cause = "the checkpoint is quantized already, or holds more than a model's weights"
        cure = "use the unquantized checkpoint"
    raise SourceError(
        f"{folder}: {cause}: {listed}; weights are {', '.join(_FLOATS)}", hint=cure, code="PHI107"
    )
