"""A checkpoint that is unusual or wrong, and what each format has to do about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.testing.checkpoints import FAMILIES, Family, write_checkpoint
from tests.backends.checkpoint_files import Tensors, change_json, change_tensors

FORMATS = ("gguf", "onnx", "openvino", "mlx")
ALL = frozenset(FORMATS)
NONE: frozenset[str] = frozenset()
NOT_ONNX = ALL - {"onnx"}
"""The formats of a mixture of experts: the ONNX builder has none."""

Edit = Callable[[Path], object]


class Fault(NamedTuple):
    """`edit` changes a checkpoint of the family; `right` are the formats that must build it and
    compute what transformers computes. The others must refuse it when the SConstruct is read.
    `options` are those of `write_checkpoint`."""

    name: str
    family: str
    edit: Edit
    right: frozenset[str] = NONE
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def write(self, folder: Path) -> Path:
        """Write the checkpoint."""
        write_checkpoint(folder, BASES[self.family], **{"layers": 2, **self.options})
        if BASES[self.family].longrope and "factors" not in self.name:
            use_one_factor(folder)
        self.edit(folder)
        return folder


# Without longrope, so that short contexts are computed alike: MLX has its long factors only.
BASES: dict[str, Family] = {
    **FAMILIES,
    "tied": dataclasses.replace(FAMILIES["phi-4-mini"], name="tied", longrope=False),
}


def use_one_factor(folder: Path) -> None:
    """Let longrope divide short contexts as it divides long ones."""
    path = folder / "config.json"
    scaling = read_config(folder)["rope_scaling"]
    change_json(path, rope_scaling=scaling | {"short_factor": scaling["long_factor"]})


def read_config(folder: Path) -> dict[str, Any]:
    """config.json."""
    import json

    fields: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return fields


def config(**fields: Any) -> Edit:
    """An edit of config.json; `...` removes a field."""
    return lambda folder: change_json(folder / "config.json", **fields)


def tensors(change: Callable[[Tensors], Tensors | None]) -> Edit:
    """An edit of the tensors."""
    return lambda folder: change_tensors(folder, change)


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(folder: Path) -> None:
        for one in edits:
            one(folder)

    return edit


def unchanged(folder: Path) -> None: ...
