"""The tensors that llama.cpp needs for an architecture, with their shapes, from config.json.

llama.cpp notices a missing tensor only when it loads the file, uses the embedding instead of a
missing head, and ignores missing biases. Source: src/models/{phi2,phi3,phimoe}.cpp.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from phiworker import WorkerError

_HINT = "compare its tensors with config.json, or fetch the checkpoint again"


class NamedShape(Protocol):
    """A tensor as GGUF names it; the first of its shape is the length of a row."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


def check_tensors(architecture: Mapping[str, Any], tensors: Iterable[NamedShape]) -> None:
    """WorkerError PHI401 for a tensor that is missing, a duplicate, of another shape, or that
    llama.cpp does not read. Longrope's factors come from config.json and are not checked."""
    needed = dict(needed_tensors(architecture))
    given: dict[str, tuple[int, ...]] = {}
    for tensor in tensors:
        if tensor.name.startswith("rope_factors_"):
            continue
        if tensor.name in given:
            raise WorkerError(f"the checkpoint has {tensor.name} twice", hint=_HINT)
        given[tensor.name] = tensor.shape
    for problem, names in (
        ("lacks a tensor that its config.json implies", needed.keys() - given.keys()),
        ("has a tensor that its config.json does not imply", given.keys() - needed.keys()),
    ):
        if names:
            first, *more = sorted(names)
            others = f" and {len(more)} more" if more else ""
            raise WorkerError(
                f"the checkpoint {problem}: {first} in llama.cpp{others}",
                hint=_HINT,
            )
    for name, shape in needed.items():
        if given[name] != shape:
            raise WorkerError(
                f"{name} in llama.cpp has the shape {list(reversed(given[name]))}, but"
                f" config.json implies {list(reversed(shape))}",
                hint=_HINT,
            )


def needed_tensors(architecture: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes, those of linear layers with the length of a row first."""
    model_type = architecture["model_type"]
    hidden, rows = architecture["hidden_size"], architecture["vocab_size"]
    norm_has_bias = model_type != "phi3"
    yield "token_embd.weight", (hidden, rows)
    yield from _vector("output_norm", hidden, bias=norm_has_bias)
    if not architecture.get("tie_word_embeddings"):
        yield from _linear("output", hidden, rows, bias=model_type != "phi3")
    for layer in range(architecture["num_hidden_layers"]):
        yield from _LAYERS[model_type](f"blk.{layer}.", architecture)


def _phi(layer: str, architecture: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = architecture["hidden_size"], architecture["intermediate_size"]
    yield from _vector(f"{layer}attn_norm", hidden, bias=True)
    yield from _projections(layer, architecture)
    yield from _linear(f"{layer}ffn_up", hidden, inner, bias=True)
    yield from _linear(f"{layer}ffn_down", inner, hidden, bias=True)


def _phi3(layer: str, architecture: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = architecture["hidden_size"], architecture["intermediate_size"]
    keys = _keys(architecture)
    yield from _vector(f"{layer}attn_norm", hidden)
    yield from _linear(f"{layer}attn_qkv", hidden, hidden + 2 * keys)
    yield from _linear(f"{layer}attn_output", hidden, hidden)
    yield from _vector(f"{layer}ffn_norm", hidden)
    yield from _linear(f"{layer}ffn_up", hidden, 2 * inner)
    yield from _linear(f"{layer}ffn_down", inner, hidden)


def _phimoe(layer: str, architecture: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = architecture["hidden_size"], architecture["intermediate_size"]
    experts = architecture["num_local_experts"]
    yield from _vector(f"{layer}attn_norm", hidden, bias=True)
    yield from _projections(layer, architecture)
    yield from _vector(f"{layer}ffn_norm", hidden, bias=True)
    yield from _linear(f"{layer}ffn_gate_inp", hidden, experts)
    yield f"{layer}ffn_gate_exps.weight", (hidden, inner, experts)
    yield f"{layer}ffn_down_exps.weight", (inner, hidden, experts)
    yield f"{layer}ffn_up_exps.weight", (hidden, inner, experts)


_LAYERS = {"phi": _phi, "phi3": _phi3, "phimoe": _phimoe}


def _projections(
    layer: str, architecture: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Separate queries, keys and values, and the output projection."""
    hidden = architecture["hidden_size"]
    keys = _keys(architecture)
    for name, rows in (("q", hidden), ("k", keys), ("v", keys), ("output", hidden)):
        yield from _linear(f"{layer}attn_{name}", hidden, rows, bias=True)


def _keys(architecture: Mapping[str, Any]) -> int:
    """Rows of the keys of all heads together."""
    heads = int(architecture["num_attention_heads"])
    width = int(architecture["hidden_size"]) // heads
    return int(architecture.get("num_key_value_heads", heads)) * width


def _linear(
    name: str, columns: int, rows: int, *, bias: bool = False
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (columns, rows)
    if bias:
        yield f"{name}.bias", (rows,)


def _vector(name: str, width: int, *, bias: bool = False) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    if bias:
        yield f"{name}.bias", (width,)
