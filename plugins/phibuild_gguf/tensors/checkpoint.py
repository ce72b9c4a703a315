"""The tensors of a GGUF file, and the tensors of the checkpoint that each comes from.

Names, shapes, types and order are those of the pinned converter (conversion/phi.py,
conversion/base.py, gguf-py/gguf/tensor_mapping.py).
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from phiworker import StoredTensor, WorkerError

from phibuild_gguf.format.types import BY_NAME, GgmlType

F32 = BY_NAME["f32"]
SOURCE_TYPES = {"F32": F32, "F16": BY_NAME["f16"], "BF16": BY_NAME["bf16"]}

_OUTSIDE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.final_layernorm": "output_norm",
    "lm_head": "output",
}
_INSIDE = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.dense": "attn_output",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
    "block_sparse_moe.gate": "ffn_gate_inp",
}
_OF_EXPERTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps"}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_EXPERT = re.compile(r"block_sparse_moe\.experts\.(\d+)\.(w[123])")
_NOT_CONVERTED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


class OutputTensor(NamedTuple):
    """A tensor of the file. The first of `shape` is the length of a row; `stored` is the type that
    the converter writes; the values are those of `sources`, concatenated."""

    name: str
    shape: tuple[int, ...]
    stored: GgmlType
    sources: tuple[StoredTensor, ...]


def output_tensors(
    architecture: Mapping[str, Any],
    tensors: Iterable[StoredTensor],
    *,
    outtype: str,
    scratch: Path,
) -> list[OutputTensor]:
    """The tensors in the converter's order; those that the config gives are written to `scratch`.

    WorkerError for a checkpoint that the converter does not support.
    """
    converted = sorted(
        (tensor for tensor in tensors if not tensor.name.endswith(_NOT_CONVERTED)),
        key=lambda tensor: tensor.name,
    )
    for tensor in converted:
        if tensor.dtype not in SOURCE_TYPES:
            raise WorkerError(
                f"{tensor.name} has the type {tensor.dtype}, which is not supported",
                hint=f"supported are {', '.join(SOURCE_TYPES)}",
            )
    stored = BY_NAME[_usual_type(converted) if outtype == "auto" else outtype]
    return [
        *_rope_factors(architecture, scratch),
        *(
            OutputTensor(name, tuple(reversed(shape)), _stored_type(name, shape, stored), sources)
            for name, shape, sources in _named(converted, architecture.get("num_local_experts", 0))
        ),
    ]


def in_layer_order(tensors: Iterable[OutputTensor]) -> list[OutputTensor]:
    """In llama-quantize's order (weight_name_comparer in src/llama-model-loader.h)."""

    def position(tensor: OutputTensor) -> tuple[int, bytes]:
        layer = re.match(r"blk\.(\d+)\.", tensor.name)
        return int(layer[1]) if layer else -1, tensor.name.encode()

    return sorted(tensors, key=position)


def _usual_type(tensors: list[StoredTensor]) -> str:
    """The type of the first matrix in 16 bits; F16 if there is none."""
    for tensor in tensors:
        if len(tensor.shape) > 1 and tensor.dtype in ("BF16", "F16"):
            return tensor.dtype.lower()
    return "f16"


def _stored_type(name: str, shape: tuple[int, ...], usual: GgmlType) -> GgmlType:
    if len(shape) < 2 or name.endswith(("_norm.weight", "ffn_gate_inp.weight", ".bias")):
        return F32
    return usual


def _named(
    tensors: Iterable[StoredTensor], experts: int
) -> Iterator[tuple[str, tuple[int, ...], tuple[StoredTensor, ...]]]:
    """GGUF name, shape and sources. Each matrix of a layer's experts becomes one tensor, in the
    place of the last expert."""
    waiting: dict[int, dict[tuple[str, int], StoredTensor]] = {}
    for tensor in tensors:
        name, layer, expert = _gguf_name(tensor.name)
        if expert is None:
            yield name, tensor.shape, (tensor,)
            continue
        gathered = waiting.setdefault(layer, {})
        gathered[name, expert] = tensor
        if len(gathered) == 3 * experts:
            del waiting[layer]
            yield from _stacked(gathered, experts)
    for gathered in waiting.values():
        incomplete = next(iter(gathered.values()))
        raise WorkerError(
            f"the layer of {incomplete.name} lacks tensors of other experts",
            hint=f"config.json says num_local_experts is {experts}",
        )


def _stacked(
    gathered: Mapping[tuple[str, int], StoredTensor], experts: int
) -> Iterator[tuple[str, tuple[int, ...], tuple[StoredTensor, ...]]]:
    for kind in _OF_EXPERTS.values():
        name = next(name for name, _ in gathered if f".{kind}." in name)
        sources = tuple(
            gathered[name, number] for number in range(experts) if (name, number) in gathered
        )
        if len(sources) != experts or len({source.shape for source in sources}) != 1:
            raise WorkerError(
                f"the experts of {name} differ in number or shape",
                hint="the checkpoint may be incomplete: fetch it again",
            )
        yield name, (experts, *sources[0].shape), sources


def _gguf_name(name: str) -> tuple[str, int, int | None]:
    """The GGUF name, layer (-1: none) and expert (None: none) of a checkpoint's tensor."""
    stem, _, kind = name.rpartition(".")
    if stem in _OUTSIDE and kind in ("weight", "bias"):
        return f"{_OUTSIDE[stem]}.{kind}", -1, None
    if match := _LAYER.fullmatch(name):
        layer, inside, kind = int(match[1]), match[2], match[3]
        if inside in _INSIDE:
            return f"blk.{layer}.{_INSIDE[inside]}.{kind}", layer, None
        if (expert := _EXPERT.fullmatch(inside)) and kind == "weight":
            return f"blk.{layer}.{_OF_EXPERTS[expert[2]]}.weight", layer, int(expert[1])
    raise WorkerError(
        f"llama.cpp has no place for the tensor {name}",
        hint="the checkpoint may have been edited: fetch the published one",
    )


def _rope_factors(architecture: Mapping[str, Any], scratch: Path) -> Iterator[OutputTensor]:
    scaling = architecture.get("rope_scaling") or {}
    for word in ("long", "short") if scaling.get("long_factor") else ():
        values = scaling[f"{word}_factor"]
        path = scratch / f"rope_factors_{word}"
        content = struct.pack(f"<{len(values)}f", *values)
        path.write_bytes(content)
        source = StoredTensor(
            name=path.name,
            dtype="F32",
            shape=(len(values),),
            sha256=hashlib.sha256(content).hexdigest(),
            path=path,
            offset=0,
            size=len(content),
        )
        yield OutputTensor(f"{path.name}.weight", source.shape, F32, (source,))
