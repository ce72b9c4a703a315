"""The view of a checkpoint for a worker: the slices that its action declares, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from phibuild.model.action import Slice
from phibuild.source.checkpoint import Checkpoint
from phibuild.source.documents import checked_json
from phibuild.source.files import TOKENIZER_BYTES, TOKENIZER_JSON
from phibuild.source.reading import read_content
from phibuild.source.safetensors import Span, read_safetensors_header, write_part


def lay_out(checkpoint: Checkpoint, slices: Collection[Slice], folder: Path) -> None:
    """Fill `folder`. Shards are links; documents are written in the canonical form that the digests
    of slices cover."""
    folder.mkdir(parents=True)
    documents = checkpoint.documents
    if "weights" in slices:
        _lay_out_weights(checkpoint, folder)
    if "architecture" in slices:
        ids = documents.token_ids if "generation" in slices else {}
        _write_json(folder / "config.json", documents.architecture | ids)
    if "generation" in slices and documents.generation is not None:
        _write_json(folder / "generation_config.json", documents.generation)
    if "tokenizer" in slices:
        for source, _ in checkpoint.files:  # a file that was added since is in no digest
            name = source.name
            if name in TOKENIZER_JSON or name in TOKENIZER_BYTES:
                is_json = name in TOKENIZER_JSON
                content = checked_json(source) if is_json else read_content(source)
                (folder / name).write_bytes(content)
    config = documents.tokenizer_config if "tokenizer" in slices else None
    template = documents.template if "chat_template" in slices else None
    named = {"chat_template": template} if isinstance(template, list) else {}
    if config is not None or named:
        _write_json(folder / "tokenizer_config.json", (config or {}) | named)
    if isinstance(template, str):
        (folder / "chat_template.jinja").write_text(template, "utf-8")


def tensor_places(checkpoint: Checkpoint, folder: Path) -> list[list[object]]:
    """Name, dtype, shape, sha256, path, offset and size in bytes of each tensor, by name, in a view
    that has the weights."""
    digests = {tensor.name: tensor.digest.hex for tensor in checkpoint.tensors}
    return sorted(
        [span.name, span.dtype, span.shape, digests[span.name], str(path), span.offset, span.size]
        for path in folder.glob("*.safetensors")
        for span in read_safetensors_header(path).spans
    )


def _lay_out_weights(checkpoint: Checkpoint, folder: Path) -> None:
    """Show shards under the names that every toolkit expects. A shard with tensors that are not
    part of the model is copied without them: toolkits treat those differently."""
    kept = {shard: _kept(checkpoint, shard) for shard in checkpoint.shards}
    shards = [shard for shard in checkpoint.shards if kept[shard] != ()]
    for position, shard in enumerate(shards, start=1):
        name = f"model-{position:05}-of-{len(shards):05}" if len(shards) > 1 else "model"
        path = folder / f"{name}.safetensors"
        spans = kept[shard]
        if spans is None:
            path.symlink_to(shard.resolve())
        else:
            write_part(shard, spans, path)
    if len(shards) > 1:
        _write_index(folder)


def _kept(checkpoint: Checkpoint, shard: Path) -> tuple[Span, ...] | None:
    """The tensors of a shard that are part of the model; None if all are."""
    if not checkpoint.leftovers:
        return None
    spans = read_safetensors_header(shard).spans
    kept = tuple(span for span in spans if span.name not in checkpoint.leftovers)
    return None if kept == spans else kept


def _write_index(folder: Path) -> None:
    places: dict[str, str] = {}
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        for span in read_safetensors_header(path).spans:
            places[span.name] = path.name
            total += span.size
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    _write_json(folder / "model.safetensors.index.json", index)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), "utf-8")
