"""What an imatrix says of each tensor, chosen as llama-quantize does (tools/quantize/quantize.cpp).

Standard library only; a part of the writing worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from phiworker import WorkerError

from phibuild_gguf.format.header import Header
from phibuild_gguf.format.values import string, uint32
from phibuild_gguf.tensors.demands import EMBEDDING, Shaped
from phibuild_gguf.tensors.pieces import digest_of

_SUMS, _COUNTS = ".in_sum2", ".counts"
_LONGEST = 127  # bytes of a text in llama_model_kv_override


class Importance(NamedTuple):
    """Where in the imatrix the sums of squares of a tensor lie, and the counts to divide them by;
    `sha256` is of both."""

    sums: int
    counts: int
    matrices: int
    sha256: str


class Importances:
    """Those entries of an imatrix that the recipe selects. The file is named `name` in metadata."""

    def __init__(self, path: Path, header: Header, recipe: Mapping[str, Any]) -> None:
        self.path = path
        self.header = header
        self._infos = {one.name: one for one in header.tensors}
        names = {
            name.removesuffix(_SUMS)
            for name in self._infos
            if name.endswith(_SUMS) and name.removesuffix(_SUMS) + _COUNTS in self._infos
        }
        included, excluded = recipe["include_weights"], recipe["exclude_weights"]
        self.names = {
            name
            for name in names
            if not _has(name, excluded) and (not included or _has(name, included))
        }

    def values(self, name: str) -> dict[str, bytes]:
        """The keys that llama-quantize adds for an imatrix file of that name."""
        if not self.names:
            return {}
        datasets = self.header.value("imatrix.datasets")
        chunks = self.header.value("imatrix.chunk_count")
        return {
            "quantize.imatrix.file": string(_cut(name)),
            **(
                {"quantize.imatrix.dataset": string(_cut(datasets.first[0]))}
                if datasets and datasets.length
                else {}
            ),
            "quantize.imatrix.entries_count": uint32(len(self.names)),
            **({"quantize.imatrix.chunks_count": uint32(chunks)} if chunks else {}),
        }

    def of_tensor(self, tensor: Shaped) -> Importance | None:
        """None if there is no entry; WorkerError PHI203 for one of another shape."""
        if tensor.name not in self.names:
            return None
        sums, counts = self._infos[tensor.name + _SUMS], self._infos[tensor.name + _COUNTS]
        matrices = prod(tensor.shape[2:])
        if prod(sums.shape) != tensor.shape[0] * matrices:
            if tensor.name == EMBEDDING:
                return None
            raise WorkerError(
                f"the imatrix is of another model: it has {prod(sums.shape)} values for"
                f" {tensor.name}, which has {tensor.shape[0] * matrices}",
                hint="make it by env.Imatrix(target, model, text=...) of the same model",
                code="PHI203",
            )
        places = [self.header.data + one.offset for one in (sums, counts)]
        digests = [
            digest_of(self.path, place, one.size)
            for place, one in zip(places, (sums, counts), strict=True)
        ]
        return Importance(places[0], places[1], prod(counts.shape), " ".join(digests))


def _has(name: str, parts: Iterable[str]) -> bool:
    return any(part in name for part in parts)


def _cut(text: str) -> str:
    return text.encode()[:_LONGEST].decode(errors="ignore")
