"""`general.size_label`: the number of parameters as people write it, such as 3.8B."""

from __future__ import annotations

from math import prod

from phibuild.api import ModelFacts

_UNITS = (("T", 1e12, 1e-12), ("B", 1e9, 1e-9), ("M", 1e6, 1e-6), ("K", 0, 1e-3))
_NOT_CONVERTED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")


def size_label(model: ModelFacts) -> str | None:
    """3.8B or 16x3.8B, counted as llama.cpp's converter does: the shared weights, one expert, and
    longrope's factors. None for an unknown model."""
    if not model.tensors:
        return None
    sizes = {
        tensor.name: prod(tensor.shape)
        for tensor in model.tensors
        if not tensor.name.endswith(_NOT_CONVERTED)
    }
    expert_of = {
        name: number
        for name in sizes
        if (number := name.partition(".experts.")[2].partition(".")[0])
    }
    scaling = model.architecture.get("rope_scaling") or {}
    factors = sum(len(scaling.get(name, ())) for name in ("long_factor", "short_factor"))
    experts = len(set(expert_of.values()))
    in_experts = sum(sizes[name] for name in expert_of)
    shared = sum(sizes.values()) - in_experts + factors
    return f"{experts}x{_rounded(shared + in_experts // experts)}" if experts else _rounded(shared)


def _rounded(parameters: int) -> str:
    """At least two digits, and the unit."""
    unit, scale = next((unit, scale) for unit, limit, scale in _UNITS if parameters > limit)
    scaled = parameters * scale
    return f"{scaled:.{0 if round(scaled) >= 10 else 1}f}{unit}"
