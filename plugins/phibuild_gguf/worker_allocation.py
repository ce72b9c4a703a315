"""Chooses a type for each tensor under a limit of bytes; runs under phibuild's Python.

Makes `overrides.json`, the recipe fields that gguf.write is to go by, and `notes.txt`, what people
are told of it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import phiworker

from phibuild_gguf.allocation import Allocation, Choice, allocate
from phibuild_gguf.candidates import FILE_TYPE_OF

_WHOLE = 10**15
"""Losses are compared in units of its inverse."""


def main(job: phiworker.Job) -> None:
    choices = json.loads(job.inputs["choices"].read_text("utf-8"))
    measured = json.loads(job.inputs["sensitivity"].read_text("utf-8"))
    losses = {one["name"]: one["losses"] for one in measured}
    tensors = choices["tensors"]
    allocation = allocate(
        [
            [
                Choice(size, round(losses[one["name"]].get(kind, 0.0) * _WHOLE))
                for kind, size in one["sizes"].items()
            ]
            for one in tensors
        ],
        choices["target_bytes"] - choices["fixed_bytes"],
    )
    chosen = {
        one["name"]: list(one["sizes"])[index]
        for one, index in zip(tensors, allocation.chosen, strict=True)
    }
    weights: Counter[str] = Counter()
    for one in tensors:
        weights[FILE_TYPE_OF.get(chosen[one["name"]], "Q8_0")] += one["weights"]
    file_type = max(sorted(weights), key=weights.__getitem__)
    overrides = as_overrides(chosen)
    job.output.mkdir()
    size = choices["fixed_bytes"] + allocation.size
    fields = {"file_type": file_type, "overrides": overrides, "bytes": size}
    (job.output / "overrides.json").write_text(json.dumps(fields), "utf-8")
    told = [
        f"{size:,} of {choices['target_bytes']:,} bytes, {told_loss(allocation)}",
        ", ".join(f"{kind} {count}" for kind, count in Counter(chosen.values()).most_common()),
        "",
        f'quant="{file_type}", overrides={{',
        *(f'    r"{pattern}": "{kind}",' for pattern, kind in overrides),
        "}",
    ]
    (job.output / "notes.txt").write_text("".join(f"{line}\n" for line in told), "utf-8")


def told_loss(allocation: Allocation) -> str:
    """The expected loss, and how far from the least one it may be."""
    loss, least = allocation.loss / _WHOLE, allocation.least / _WHOLE
    if allocation.loss == allocation.least:
        return f"expected loss {loss:.4g}, the least that any choice has"
    return f"expected loss {loss:.4g}; no choice has less than {least:.4g}"


def as_overrides(chosen: Mapping[str, str]) -> list[tuple[str, str]]:
    """Patterns that name each tensor once; layers that get one type there are one pattern."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, kind in chosen.items():
        layer = re.match(r"blk\.(\d+)\.", name)
        inside = name[layer.end() :] if layer else name
        groups.setdefault((inside, kind), []).extend(layer.groups() if layer else ())
    return [
        (f"^{_layers(layers)}{re.escape(inside)}$", kind)
        for (inside, kind), layers in groups.items()
    ]


def _layers(numbers: Sequence[str]) -> str:
    if not numbers:
        return ""
    return rf"blk\.({'|'.join(numbers)})\." if len(numbers) > 1 else rf"blk\.{numbers[0]}\."


if __name__ == "__main__":
    phiworker.run(main)
