"""Makes transformers fail where it only warns about a checkpoint.

By itself, it fills missing weights with random numbers, ignores weights that it does not know,
and converts integers to floating point numbers without their scales. For workers, under a
toolchain's interpreter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any

from phiworker import StoredTensor, WorkerError

FLOATS = ("BF16", "F16", "F32")
_SHOWN = 4
_HINT = "compare its tensors with config.json, or fetch the checkpoint again"


def load_strictly(tensors: Iterable[StoredTensor]) -> None:
    """Let `from_pretrained` return a model only if each of its weights was in the checkpoint, with
    its shape, and nothing else was. `tensors` are those of the checkpoint.

    WorkerError PHI401 for a tensor that does not hold floating point numbers; `from_pretrained`
    raises it for the others.
    """
    integers = [
        f"{tensor.name} ({tensor.dtype})" for tensor in tensors if tensor.dtype not in FLOATS
    ]
    if integers:
        raise WorkerError(
            f"the checkpoint is not in floating point: {_listed(integers)}",
            hint=f"use a checkpoint whose tensors are {', '.join(FLOATS)}",
        )
    model_class = import_module("transformers").PreTrainedModel
    load = model_class.from_pretrained.__func__

    def from_pretrained(cls: Any, *places: Any, **options: Any) -> Any:
        with_info = options.pop("output_loading_info", False)
        # Otherwise transformers fails at a shape without naming the tensor.
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        try:
            model, info = load(cls, *places, **options)
        except RuntimeError as error:
            if "conversion of the weights" not in str(error):
                raise
            raise WorkerError(
                "transformers cannot convert the weights of the checkpoint; the log lists them:"
                f" {' '.join(str(error).split())[:300]}",
                hint=_HINT,
            ) from error
        check(info)
        return (model, info) if with_info else model

    model_class.from_pretrained = classmethod(from_pretrained)


def check(info: dict[str, Any]) -> None:
    """WorkerError PHI401 that names the tensors of a loading report that do not fit."""
    mismatched = [
        f"{name} (shape {list(stored)}, the model's is {list(expected)})"
        for name, stored, expected in info["mismatched_keys"]
    ]
    problems = [
        f"{problem} {_listed(names)}"
        for problem, names in (
            ("it lacks", info["missing_keys"]),
            ("the model has no place for", info["unexpected_keys"]),
            ("the shape differs of", mismatched),
        )
        if names
    ]
    if problems:
        raise WorkerError(
            f"the weights do not fit the model of config.json: {'; '.join(problems)}", hint=_HINT
        )


def _listed(names: Collection[str]) -> str:
    """The first few names, and how many more there are."""
    first = sorted(names)[:_SHOWN]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
