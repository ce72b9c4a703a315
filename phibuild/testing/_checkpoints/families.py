"""The Phi families as values: what each one's config says and which tensors it has.

The configs are those of the published checkpoints, scaled down. Heads are 64 wide, which every
backend's kernels and group sizes accept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Architecture = Literal["phi", "phi3", "phimoe"]
TokenizerKind = Literal["phi-2", "phi-3", "phi-4-mini"]
Dtype = Literal["bf16", "f16", "f32"]
Role = Literal["matrix", "head", "norm", "bias"]

HEAD_SIZE = 64
ORIGINAL_CONTEXT = 4096
LONG_CONTEXT = 16384  # the published 131072 would only make the rotary tables of artifacts larger


@dataclass(frozen=True, slots=True)
class Family:
    """What makes one Phi model differ from another, whatever its size.

    ``queries_per_key`` is the number of query heads that share a key head; ``expansion`` the width
    of the feed forward layer, or of one expert, as a multiple of the hidden width; ``rotary`` the
    share of each head that is rotated.
    """

    name: str
    architecture: Architecture
    tokenizer: TokenizerKind
    dtype: Dtype = "bf16"
    queries_per_key: int = 1
    expansion: int = 2
    rotary: float = 1.0
    longrope: bool = False
    tied: bool = False
    experts: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """How large a checkpoint of some family is."""

    hidden: int = 256
    layers: int = 4
    vocab: int = 1056

    def __post_init__(self) -> None:
        if self.hidden % 256:
            raise ValueError(f"hidden is {self.hidden}: k-quants need a multiple of 256")
        if self.layers < 1:
            raise ValueError(f"layers is {self.layers}: one is the least")
        if self.vocab % 128 == 0:
            # Every other layer's width is such a multiple, and the ONNX builder takes the first
            # layer that is as wide as the vocabulary for the head.
            raise ValueError(f"vocab is {self.vocab}: it must not be a multiple of 128")

    @property
    def heads(self) -> int:
        return self.hidden // HEAD_SIZE


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor of a checkpoint before it has values. A ``head`` turns activations into logits."""

    name: str
    shape: tuple[int, ...]
    role: Role


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            # llama.cpp takes the feed forward width of phi for four times the hidden one. The
            # published 0.4 of 80-wide heads is 32 dimensions; of 64 it would be an odd number.
            Family("phi-2", "phi", "phi-2", dtype="f16", expansion=4, rotary=0.25),
            Family("phi-3", "phi3", "phi-3"),
            Family("phi-3.5", "phi3", "phi-3", longrope=True),
            Family(
                "phi-4-mini",
                "phi3",
                "phi-4-mini",
                queries_per_key=2,
                rotary=0.75,
                longrope=True,
                tied=True,
            ),
            Family(
                "phi-3.5-moe",
                "phimoe",
                "phi-3",
                queries_per_key=2,
                expansion=1,
                longrope=True,
                experts=4,
            ),
        )
    }
)


def tensor_specs(family: Family, size: Size) -> Iterator[TensorSpec]:
    """The tensors of a checkpoint in the order of their use."""
    hidden, vocab = size.hidden, size.vocab
    embedding: Role = "head" if family.tied else "matrix"
    yield TensorSpec("model.embed_tokens.weight", (vocab, hidden), embedding)
    for layer in range(size.layers):
        for spec in LAYER_TENSORS[family.architecture](family, size):
            yield TensorSpec(f"model.layers.{layer}.{spec.name}", spec.shape, spec.role)
    if family.architecture == "phi":
        yield from norm("model.final_layernorm", hidden, bias=True)
    else:
        yield from norm("model.norm", hidden, bias=family.architecture == "phimoe")
    if not family.tied:
        yield TensorSpec("lm_head.weight", (vocab, hidden), "head")
        if family.architecture != "phi3":
            yield TensorSpec("lm_head.bias", (vocab,), "bias")


def phi_layer(family: Family, size: Size) -> Iterator[TensorSpec]:
    hidden, wide = size.hidden, size.hidden * family.expansion
    yield from norm("input_layernorm", hidden, bias=True)
    for projection in ("q_proj", "k_proj", "v_proj", "dense"):
        yield from linear(f"self_attn.{projection}", hidden, hidden, bias=True)
    yield from linear("mlp.fc1", wide, hidden, bias=True)
    yield from linear("mlp.fc2", hidden, wide, bias=True)


def phi3_layer(family: Family, size: Size) -> Iterator[TensorSpec]:
    hidden, wide = size.hidden, size.hidden * family.expansion
    yield from norm("input_layernorm", hidden)
    yield from linear("self_attn.qkv_proj", hidden + 2 * key_width(family, size), hidden)
    yield from linear("self_attn.o_proj", hidden, hidden)
    yield from norm("post_attention_layernorm", hidden)
    yield from linear("mlp.gate_up_proj", 2 * wide, hidden)
    yield from linear("mlp.down_proj", hidden, wide)


def phimoe_layer(family: Family, size: Size) -> Iterator[TensorSpec]:
    hidden, wide, keys = size.hidden, size.hidden * family.expansion, key_width(family, size)
    yield from norm("input_layernorm", hidden, bias=True)
    for projection, rows in (("q", hidden), ("k", keys), ("v", keys), ("o", hidden)):
        yield from linear(f"self_attn.{projection}_proj", rows, hidden, bias=True)
    yield from norm("post_attention_layernorm", hidden, bias=True)
    yield from linear("block_sparse_moe.gate", family.experts, hidden)
    for expert in range(family.experts):
        prefix = f"block_sparse_moe.experts.{expert}"
        yield from linear(f"{prefix}.w1", wide, hidden)
        yield from linear(f"{prefix}.w2", hidden, wide)
        yield from linear(f"{prefix}.w3", wide, hidden)


LAYER_TENSORS = {"phi": phi_layer, "phi3": phi3_layer, "phimoe": phimoe_layer}


def key_width(family: Family, size: Size) -> int:
    return size.hidden // family.queries_per_key


def linear(name: str, rows: int, columns: int, *, bias: bool = False) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{name}.weight", (rows, columns), "matrix")
    if bias:
        yield TensorSpec(f"{name}.bias", (rows,), "bias")


def norm(name: str, width: int, *, bias: bool = False) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{name}.weight", (width,), "norm")
    if bias:
        yield TensorSpec(f"{name}.bias", (width,), "bias")


def rope_factors(family: Family) -> dict[str, list[float]]:
    """Longrope's divisors of each rotated frequency, of the published size and growth."""
    count = int(HEAD_SIZE * family.rotary) // 2
    return {
        "long_factor": [round(1.05 * 32 ** (index / (count - 1)), 4) for index in range(count)],
        "short_factor": [round(1 + 0.04 * index, 4) for index in range(count)],
    }
