"""Chooses a type for each tensor under a limit of bytes; runs under phibuild's Python.

Writes `overrides.json`, recipe fields for gguf.write, and `notes.txt`, a text for people.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import phiworker

from phibuild_gguf.target_size.allocation import Allocation, Choice, allocate
from phibuild_gguf.target_size.candidates import FILE_TYPE_OF

_WHOLE = 10**15
"""Losses are compared as multiples of 1 / _WHOLE."""


def main(job: phiworker.Job) -> None:
    choices = json.loads(job.inputs["choices"].read_text("utf-8"))
    measured = json.loads(job.inputs["sensitivity"].read_text("utf-8"))
    losses = {tensor["name"]: tensor["losses"] for tensor in measured}
    tensors = choices["tensors"]
    allocation = allocate(
        [
            [
                Choice(size, round(losses[tensor["name"]].get(kind, 0.0) * _WHOLE))
                for kind, size in tensor["sizes"].items()
            ]
            for tensor in tensors
        ],
        choices["target_bytes"] - choices["fixed_bytes"],
    )
    chosen = {
        tensor["name"]: list(tensor["sizes"])[index]
        for tensor, index in zip(tensors, allocation.chosen, strict=True)
    }
    weights: Counter[str] = Counter()
    for tensor in tensors:
        weights[FILE_TYPE_OF.get(chosen[tensor["name"]], "Q8_0")] += tensor["weights"]
    quant = max(sorted(weights), key=weights.__getitem__)
    overrides = as_overrides(chosen)
    job.output.mkdir()
    size = choices["fixed_bytes"] + allocation.size
    fields = {"quant": quant, "overrides": overrides, "bytes": size}
    (job.output / "overrides.json").write_text(json.dumps(fields), "utf-8")
    lines = [
        f"{size:,} of {choices['target_bytes']:,} bytes, {loss_text(allocation)}",
        ", ".join(f"{kind} {count}" for kind, count in Counter(chosen.values()).most_common()),
        "",
        f'quant="{quant}", overrides={{',
        *(f'    r"{pattern}": "{kind}",' for pattern, kind in overrides),
        "}",
    ]
    (job.output / "notes.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def loss_text(allocation: Allocation) -> str:
    """The expected loss, and the least that is possible."""
    loss, least = allocation.loss / _WHOLE, allocation.least / _WHOLE
    if allocation.loss == allocation.least:
        return f"expected loss {loss:.4g}, the least of all choices"
    return f"expected loss {loss:.4g}; no choice has less than {least:.4g}"


def as_overrides(chosen: Mapping[str, str]) -> list[tuple[str, str]]:
    """Patterns that match each tensor once; layers with the same type share a pattern."""
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
