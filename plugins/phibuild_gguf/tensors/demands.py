"""The types that a recipe demands of single tensors, compared with the model and the chosen types.

llama-quantize ignores an override that matches nothing, and replaces a type whose blocks do not
fill a row; neither is an error there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from phiworker import WorkerError

from phibuild_gguf.format.header import GgufHeader
from phibuild_gguf.format.types import BY_NAME, NEED_IMATRIX, GgmlType
from phibuild_gguf.tensors.needed import NamedShape

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


def is_quantized(tensor: NamedShape) -> bool:
    """Whether llama-quantize quantizes a tensor of these architectures at all
    (tensor_allows_quantization in src/llama-quant.cpp)."""
    return (
        len(tensor.shape) > 1
        and tensor.name.endswith("weight")
        and not tensor.name.endswith(("_norm.weight", "ffn_gate_inp.weight"))
    )


def demands(recipe: Mapping[str, Any], tensors: Sequence[NamedShape]) -> dict[str, GgmlType]:
    """The types that the recipe names, by tensor.

    WorkerError PHI203 for a field or pattern without effect on any tensor, and for a type whose
    blocks do not fill a tensor's rows.
    """
    names = {tensor.name for tensor in tensors}
    unused = {f"overrides: {pattern}" for pattern, _ in recipe["overrides"]}
    unused |= {name for name in ("output_tensor_type", "token_embedding_type") if recipe[name]}
    demanded = {}
    for tensor in tensors:
        if not is_quantized(tensor) or (tensor.name == OUTPUT and recipe["leave_output_tensor"]):
            continue
        source, type_name = _demand(recipe, tensor.name, is_tied=OUTPUT not in names)
        if type_name is None:
            continue
        kind = BY_NAME[type_name.lower()]
        if not kind.holds(tensor.shape[0]):
            raise WorkerError(
                f"{source}: {kind.name} has blocks of {kind.block_size} weights, which do not fill"
                f" the {tensor.shape[0]} of a row of {tensor.name}",
                hint="use a type with blocks of 32, such as q8_0, or a narrower pattern",
                code="PHI203",
            )
        unused.discard(source)
        demanded[tensor.name] = kind
    if unused:
        matched = ", ".join(sorted(_layer_names(tensors))[:12])
        raise WorkerError(
            f"{min(unused)} has no effect on any tensor of this model",
            hint=f"its quantized tensors are {matched}",
            code="PHI203",
        )
    return demanded


def check_choice(demanded: Mapping[str, GgmlType], chosen: Mapping[str, GgmlType]) -> None:
    """WorkerError PHI203 if llama-quantize chose another type than the recipe demands."""
    for name, kind in demanded.items():
        if chosen[name] != kind:
            raise WorkerError(
                f"llama-quantize chooses {chosen[name].name} for {name}; the recipe says"
                f" {kind.name}",
                hint="write a pattern that means the same in llama.cpp (ECMAScript) and in Python",
                code="PHI203",
            )


def check_needed_entries(
    quant: str, chosen: Mapping[str, GgmlType], known: Collection[str]
) -> None:
    """WorkerError PHI203 for a tensor whose type needs an imatrix and that has no entry in it
    (tensor_requires_imatrix in src/llama-quant.cpp)."""
    for name, kind in chosen.items():
        needs = kind.name in NEED_IMATRIX or (kind.name == "q2_K" and quant == "Q2_K_S")
        if needs and name not in (*known, EMBEDDING, OUTPUT):
            raise WorkerError(
                f"{name} gets {kind.name}, which needs an imatrix, and has no entry in one",
                hint="override its type, or remove it from exclude_weights",
                code="PHI203",
            )


def check_imatrix(
    recipe: Mapping[str, Any], tensors: Iterable[NamedShape], imatrix: GgufHeader
) -> None:
    """WorkerError PHI203 for an imatrix that lacks tensors, or a selection that matches nothing:
    llama-quantize would quantize those tensors without one."""
    known = {
        tensor.name.removesuffix(".in_sum2")
        for tensor in imatrix.tensors
        if tensor.name.endswith(".in_sum2")
    }
    included, excluded = recipe["include_weights"], recipe["exclude_weights"]
    for part in (*included, *excluded):
        if not any(part in name for name in known):
            raise WorkerError(
                f"{'include' if included else 'exclude'}_weights: no name in the imatrix contains"
                f" {part!r}",
                hint="a name looks like blk.0.ffn_down.weight",
                code="PHI203",
            )
    missing = [
        tensor.name
        for tensor in tensors
        if is_quantized(tensor)
        and tensor.name not in (*known, EMBEDDING, OUTPUT)
        and not any(part in tensor.name for part in excluded)
        and (not included or any(part in tensor.name for part in included))
    ]
    if missing:
        raise WorkerError(
            f"the imatrix has no entry for {len(missing)} tensors, such as {missing[0]}",
            hint="make it from the same model and a longer text, or list the tensors in"
            " exclude_weights",
            code="PHI203",
        )


def _demand(recipe: Mapping[str, Any], name: str, *, is_tied: bool) -> tuple[str, str | None]:
    """The field that decides and its type, in llama-quantize's order of precedence."""
    if name == EMBEDDING and recipe["token_embedding_type"]:
        return "token_embedding_type", recipe["token_embedding_type"]
    if name == OUTPUT and recipe["output_tensor_type"]:
        return "output_tensor_type", recipe["output_tensor_type"]
    for pattern, kind in recipe["overrides"]:
        if re.search(pattern, name):
            return f"overrides: {pattern}", kind
    if name == EMBEDDING and is_tied and not recipe["pure"]:
        return "output_tensor_type", recipe["output_tensor_type"]
    return "", None


def _layer_names(tensors: Iterable[NamedShape]) -> set[str]:
    """The names of quantized tensors, with N for the number of the layer."""
    return {
        re.sub(r"^blk\.\d+", "blk.N", tensor.name) for tensor in tensors if is_quantized(tensor)
    }
