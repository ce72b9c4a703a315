"""The entries of an imatrix, selected as llama-quantize does (tools/quantize/quantize.cpp)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from phiworker import WorkerError

from phibuild_gguf.format.header import GgufHeader
from phibuild_gguf.format.values import Values, string, uint32
from phibuild_gguf.tensors.demands import EMBEDDING
from phibuild_gguf.tensors.needed import NamedShape
from phibuild_gguf.tensors.pieces import digest_of

_SUMS, _COUNTS = ".in_sum2", ".counts"
_LONGEST = 127  # bytes of a text in llama_model_kv_override


class Importance(NamedTuple):
    """Offsets in the imatrix of a tensor's sums of squares and of the counts to divide them by;
    `sha256` covers both."""

    sums: int
    counts: int
    matrices: int
    sha256: str


class Importances:
    """The entries of an imatrix that the recipe selects."""

    def __init__(self, path: Path, header: GgufHeader, recipe: Mapping[str, Any]) -> None:
        self.path = path
        self.header = header
        self._infos = {info.name: info for info in header.tensors}
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

    def values(self, name: str) -> Values:
        """The metadata that llama-quantize adds for an imatrix file of that name."""
        if not self.names:
            return {}
        datasets = self.header.value("imatrix.datasets")
        chunks = self.header.value("imatrix.chunk_count")
        return {
            "quantize.imatrix.file": string(_truncated(name)),
            **(
                {"quantize.imatrix.dataset": string(_truncated(datasets.first[0]))}
                if datasets and datasets.length
                else {}
            ),
            "quantize.imatrix.entries_count": uint32(len(self.names)),
            **({"quantize.imatrix.chunks_count": uint32(chunks)} if chunks else {}),
        }

    def of_tensor(self, tensor: NamedShape) -> Importance | None:
        """None without an entry; WorkerError PHI203 for an entry of another shape."""
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
                hint="make one of the same model with env.Imatrix(target, model, text=...)",
                code="PHI203",
            )
        offsets = [self.header.data + info.offset for info in (sums, counts)]
        digests = [
            digest_of(self.path, offset, info.size)
            for offset, info in zip(offsets, (sums, counts), strict=True)
        ]
        return Importance(offsets[0], offsets[1], prod(counts.shape), " ".join(digests))


def _has(name: str, parts: Iterable[str]) -> bool:
    return any(part in name for part in parts)


def _truncated(text: str) -> str:
    return text.encode()[:_LONGEST].decode(errors="ignore")
