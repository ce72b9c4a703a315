"""The Phi families: the defaults of each config.json, and exactly the tensors that it implies.

Defaults and shapes are those of transformers 5.5 (models/{phi,phi3,phimoe}: `configuration_*.py`
and the `__init__` methods of `modeling_*.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from phibuild.source.architecture import config_refusal

Fields = Mapping[str, Any]
"""config.json in its canonical spelling, with the family's defaults written out."""

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
ROWS = "vocab_size"

_MOST_LAYERS = 4096
_MOST_EXPERTS = 4096


class ExpectedTensor(NamedTuple):
    """A tensor that a config.json implies. `shape` as safetensors stores it: (out, in)."""

    name: str
    shape: tuple[int, ...]


class Family(NamedTuple):
    """What a `model_type` implies. `class_name` is that of `architectures`, `defaults` are the
    values of absent fields that shape the computation; `layer` yields the tensors of one layer,
    named from the layer's prefix on."""

    class_name: str
    defaults: Fields
    layer: Callable[[Dimensions], Iterator[ExpectedTensor]]
    final_norm: str
    norm_has_bias: bool
    head_bias: Callable[[Fields], bool]


class Dimensions(NamedTuple):
    """The sizes that shape the tensors, in numbers of values. `fields` are all of config.json."""

    fields: Fields
    hidden: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    rows: int

    @property
    def queries(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_size

    @property
    def keys(self) -> int:
        """Width of all keys, or of all values, of a token."""
        return self.key_heads * self.head_size


def with_defaults(fields: Fields) -> dict[str, Any]:
    """The fields with the family's defaults for those that are absent, so that no toolkit uses a
    default of its own. Fields of a `model_type` that is not a Phi family stay unchanged."""
    family = FAMILIES.get(fields.get("model_type", ""))
    if family is None:
        return dict(fields)
    complete = {**family.defaults, **fields}
    complete["architectures"] = complete.get("architectures") or [family.class_name]
    complete.setdefault("num_key_value_heads", complete["num_attention_heads"])
    if fields["model_type"] == "phimoe" and not complete.get("rope_scaling"):
        # llama.cpp's converter requires the field, which has no effect on plain rope.
        complete.setdefault("original_max_position_embeddings", complete["max_position_embeddings"])
    return dict(sorted(complete.items()))


def dimensions(fields: Fields) -> Dimensions:
    """The sizes in a config.json; SourceError PHI103 for one that is not a positive integer."""
    hidden, heads = _count(fields, "hidden_size"), _count(fields, "num_attention_heads")
    key_heads = _count(fields, "num_key_value_heads")
    if heads % key_heads:
        raise config_refusal(
            f"num_attention_heads {heads} is not a multiple of num_key_value_heads {key_heads}"
        )
    return Dimensions(
        fields=fields,
        hidden=hidden,
        inner=_count(fields, "intermediate_size"),
        layers=_count(fields, "num_hidden_layers", most=_MOST_LAYERS),
        heads=heads,
        key_heads=key_heads,
        head_size=_count(fields, "head_dim") if "head_dim" in fields else max(hidden // heads, 1),
        rows=_count(fields, ROWS),
    )


def expected_tensors(family: Family, size: Dimensions) -> Iterator[ExpectedTensor]:
    """Every tensor of the checkpoint. A tied head has no tensor of its own."""
    yield ExpectedTensor(EMBEDDING, (size.rows, size.hidden))
    for number in range(size.layers):
        for tensor in family.layer(size):
            yield ExpectedTensor(f"model.layers.{number}.{tensor.name}", tensor.shape)
    yield from _norm(family.final_norm, size.hidden, bias=family.norm_has_bias)
    if not size.fields["tie_word_embeddings"]:
        yield ExpectedTensor(HEAD, (size.rows, size.hidden))
    if family.head_bias(size.fields):
        yield ExpectedTensor("lm_head.bias", (size.rows,))


def _phi_layer(size: Dimensions) -> Iterator[ExpectedTensor]:
    yield from _norm("input_layernorm", size.hidden, bias=True)
    yield from _linear("self_attn.q_proj", size.queries, size.hidden, bias=True)
    yield from _linear("self_attn.k_proj", size.keys, size.hidden, bias=True)
    yield from _linear("self_attn.v_proj", size.keys, size.hidden, bias=True)
    yield from _linear("self_attn.dense", size.hidden, size.queries, bias=True)
    if size.fields["qk_layernorm"]:
        width = max(size.hidden // size.heads, 1)
        yield from _norm("self_attn.q_layernorm", width, bias=True)
        yield from _norm("self_attn.k_layernorm", width, bias=True)
    yield from _linear("mlp.fc1", size.inner, size.hidden, bias=True)
    yield from _linear("mlp.fc2", size.hidden, size.inner, bias=True)


def _phi3_layer(size: Dimensions) -> Iterator[ExpectedTensor]:
    yield from _norm("input_layernorm", size.hidden)
    yield from _linear("self_attn.qkv_proj", size.queries + 2 * size.keys, size.hidden)
    yield from _linear("self_attn.o_proj", size.hidden, size.queries)
    yield from _norm("post_attention_layernorm", size.hidden)
    yield from _linear("mlp.gate_up_proj", 2 * size.inner, size.hidden)
    yield from _linear("mlp.down_proj", size.hidden, size.inner)


def _phimoe_layer(size: Dimensions) -> Iterator[ExpectedTensor]:
    bias = bool(size.fields["attention_bias"])
    yield from _norm("input_layernorm", size.hidden, bias=True)
    yield from _linear("self_attn.q_proj", size.queries, size.hidden, bias=bias)
    yield from _linear("self_attn.k_proj", size.keys, size.hidden, bias=bias)
    yield from _linear("self_attn.v_proj", size.keys, size.hidden, bias=bias)
    yield from _linear("self_attn.o_proj", size.hidden, size.queries, bias=bias)
    yield from _norm("post_attention_layernorm", size.hidden, bias=True)
    experts = _count(size.fields, "num_local_experts", most=_MOST_EXPERTS)
    yield from _linear("block_sparse_moe.gate", experts, size.hidden)
    for expert in range(experts):
        prefix = f"block_sparse_moe.experts.{expert}"
        yield from _linear(f"{prefix}.w1", size.inner, size.hidden)
        yield from _linear(f"{prefix}.w2", size.hidden, size.inner)
        yield from _linear(f"{prefix}.w3", size.inner, size.hidden)


def _linear(name: str, rows: int, columns: int, *, bias: bool = False) -> Iterator[ExpectedTensor]:
    yield ExpectedTensor(f"{name}.weight", (rows, columns))
    if bias:
        yield ExpectedTensor(f"{name}.bias", (rows,))


def _norm(name: str, width: int, *, bias: bool = False) -> Iterator[ExpectedTensor]:
    yield ExpectedTensor(f"{name}.weight", (width,))
    if bias:
        yield ExpectedTensor(f"{name}.bias", (width,))


def _count(fields: Fields, name: str, *, most: int = 1 << 31) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise config_refusal(f"{name} is {value!r}, which is not a number between 1 and {most}")
    return value


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "phi": Family(
            class_name="PhiForCausalLM",
            defaults={
                "hidden_act": "gelu_new",
                "hidden_size": 2048,
                "intermediate_size": 8192,
                "layer_norm_eps": 1e-05,
                "max_position_embeddings": 2048,
                "num_attention_heads": 32,
                "num_hidden_layers": 24,
                "partial_rotary_factor": 0.5,
                "qk_layernorm": False,
                "rope_theta": 10000.0,
                "tie_word_embeddings": False,
                "vocab_size": 51200,
            },
            layer=_phi_layer,
            final_norm="model.final_layernorm",
            norm_has_bias=True,
            head_bias=lambda _: True,
        ),
        "phi3": Family(
            class_name="Phi3ForCausalLM",
            defaults={
                "hidden_act": "silu",
                "hidden_size": 3072,
                "intermediate_size": 8192,
                "max_position_embeddings": 4096,
                "num_attention_heads": 32,
                "num_hidden_layers": 32,
                "original_max_position_embeddings": 4096,
                "rms_norm_eps": 1e-05,
                "rope_theta": 10000.0,
                "tie_word_embeddings": False,
                "vocab_size": 32064,
            },
            layer=_phi3_layer,
            final_norm="model.norm",
            norm_has_bias=False,
            head_bias=lambda _: False,
        ),
        "phimoe": Family(
            class_name="PhiMoEForCausalLM",
            defaults={
                "attention_bias": False,
                "hidden_act": "silu",
                "hidden_size": 4096,
                "intermediate_size": 6400,
                "lm_head_bias": False,
                "max_position_embeddings": 131072,
                "num_attention_heads": 32,
                "num_experts_per_tok": 2,
                "num_hidden_layers": 32,
                "num_key_value_heads": 8,
                "num_local_experts": 16,
                "rms_norm_eps": 1e-05,
                "rope_theta": 1000000.0,
                "tie_word_embeddings": False,
                "vocab_size": 32064,
            },
            layer=_phimoe_layer,
            final_norm="model.norm",
            norm_has_bias=True,
            head_bias=lambda fields: bool(fields["lm_head_bias"]),
        ),
    }
)
