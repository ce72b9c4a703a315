"""What a recipe demands of single tensors, held against the model and against what is chosen.

llama-quantize passes over an override that matches nothing and replaces a type that does not fit a
row, both without failing. Standard library only; a part of the writing worker.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from phiworker import WorkerError

from phibuild_gguf.format.header import Header
from phibuild_gguf.format.types import BY_NAME, NEED_IMATRIX, GgmlType

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


class Shaped(Protocol):
    """A tensor as GGUF names it; the first of its shape is the length of a row."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


def is_quantized(tensor: Shaped) -> bool:
    """Whether llama-quantize touches a tensor of these architectures at all
    (tensor_allows_quantization in src/llama-quant.cpp)."""
    return (
        len(tensor.shape) > 1
        and tensor.name.endswith("weight")
        and not tensor.name.endswith(("_norm.weight", "ffn_gate_inp.weight"))
    )


def demands(recipe: Mapping[str, Any], tensors: Sequence[Shaped]) -> dict[str, GgmlType]:
    """The type that the recipe names for a tensor, by tensor.

    WorkerError PHI203 for a field or pattern that no tensor obeys, and for a type that does not
    fit a tensor's rows.
    """
    names = {tensor.name for tensor in tensors}
    unused = {f"overrides: {pattern}" for pattern, _ in recipe["overrides"]}
    unused |= {name for name in ("output_tensor_type", "token_embedding_type") if recipe[name]}
    demanded = {}
    for tensor in tensors:
        if not is_quantized(tensor) or (tensor.name == OUTPUT and recipe["leave_output_tensor"]):
            continue
        source, wanted = _demand(recipe, tensor.name, is_tied=OUTPUT not in names)
        if wanted is None:
            continue
        kind = BY_NAME[wanted.lower()]
        if not kind.holds(tensor.shape[0]):
            raise WorkerError(
                f"{source}: {kind.name} has blocks of {kind.block_size} weights, which do not fill"
                f" the {tensor.shape[0]} of a row of {tensor.name}",
                hint="take a type with blocks of 32, such as q8_0, or a narrower pattern",
                code="PHI203",
            )
        unused.discard(source)
        demanded[tensor.name] = kind
    if unused:
        matched = ", ".join(sorted(_shapes_of_names(tensors))[:12])
        raise WorkerError(
            f"{min(unused)} has no effect on any tensor of this model",
            hint=f"its quantized tensors are {matched}",
            code="PHI203",
        )
    return demanded


def check_choice(demanded: Mapping[str, GgmlType], chosen: Mapping[str, GgmlType]) -> None:
    """WorkerError PHI203 if llama-quantize gives a tensor another type than was demanded."""
    for name, wanted in demanded.items():
        if chosen[name] != wanted:
            raise WorkerError(
                f"llama-quantize makes {name} {chosen[name].name} where the recipe says"
                f" {wanted.name}",
                hint="write the pattern so that llama.cpp's regular expressions (ECMAScript) and"
                " Python's read it alike",
                code="PHI203",
            )


def check_starved(file_type: str, chosen: Mapping[str, GgmlType], known: Collection[str]) -> None:
    """WorkerError PHI203 for a tensor whose type is garbage without an imatrix, if the imatrix has
    no entry for it (tensor_requires_imatrix in src/llama-quant.cpp)."""
    for name, kind in chosen.items():
        needs = kind.name in NEED_IMATRIX or (kind.name == "q2_K" and file_type == "Q2_K_S")
        if needs and name not in (*known, EMBEDDING, OUTPUT):
            raise WorkerError(
                f"{name} becomes {kind.name}, which needs an imatrix, and has none",
                hint="give its name an override with another type, or take it out of"
                " exclude_weights",
                code="PHI203",
            )


def check_imatrix(recipe: Mapping[str, Any], tensors: Iterable[Shaped], imatrix: Header) -> None:
    """WorkerError PHI203 for an imatrix that leaves tensors out, or for a selection that selects
    nothing: llama-quantize would quantize those tensors without one."""
    known = {
        tensor.name.removesuffix(".in_sum2")
        for tensor in imatrix.tensors
        if tensor.name.endswith(".in_sum2")
    }
    included, excluded = recipe["include_weights"], recipe["exclude_weights"]
    for part in (*included, *excluded):
        if not any(part in name for name in known):
            raise WorkerError(
                f"{part!r} of {'include' if included else 'exclude'}_weights is in no name of the"
                " imatrix",
                hint="a name is for instance blk.0.ffn_down.weight",
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
            f"the imatrix knows nothing of {len(missing)} tensors, for instance {missing[0]}",
            hint="make it of the same model and a longer text; exclude_weights leaves tensors out"
            " on purpose",
            code="PHI203",
        )


def _demand(recipe: Mapping[str, Any], name: str, *, is_tied: bool) -> tuple[str, str | None]:
    """The field and the type that decide, in llama-quantize's order of precedence."""
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


def _shapes_of_names(tensors: Iterable[Shaped]) -> set[str]:
    """The names of quantized tensors, those of all layers as one."""
    return {
        re.sub(r"^blk\.\d+", "blk.N", tensor.name) for tensor in tensors if is_quantized(tensor)
    }
