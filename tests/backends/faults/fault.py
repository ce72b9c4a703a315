"""A checkpoint that is unusual or wrong, and the formats that must build it correctly."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from phibuild.testing._checkpoints.families import LONG_CONTEXT, ORIGINAL_CONTEXT
from phibuild.testing.checkpoints import FAMILIES, Family, write_checkpoint
from tests.backends.checkpoint_files import Tensors, change_json, change_tensors

FORMATS = ("gguf", "onnx", "openvino", "mlx")
ALL = frozenset(FORMATS)
NONE: frozenset[str] = frozenset()
NOT_ONNX = ALL - {"onnx"}
"""The formats that support a mixture of experts."""

Edit = Callable[[Path], object]
Limit = Literal["", "experts of llama.cpp", "experts of mlx-lm", "long factors", "no window"]
"""llama.cpp and mlx-lm weigh the experts of phimoe by a softmax of the two best, where Phi's router
(sparsemixer) gives each of them its whole weight unless two are nearly equal; llama.cpp also has
root mean square norms in phimoe, where Phi's are LayerNorms, and scales its longrope by the usual
formula and not by its fields. mlx-lm uses the long factors of longrope at every length. Both ignore
windows of attention. The READMEs of the plugins say so."""


class Fault(NamedTuple):
    """`edit` changes a checkpoint of the family; `right` are the formats that must build it and
    compute what transformers computes. The others must refuse it when the SConstruct is read.
    `options` are those of `write_checkpoint`. If transformers cannot read a correct checkpoint,
    it reads one with the edit `reference` instead."""

    name: str
    family: str
    edit: Edit
    right: frozenset[str] = NONE
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    reference: Edit | None = None

    def limit(self, name: str) -> Limit:
        """How the runtime of this format differs from transformers for any artifact."""
        if self.family == "phi-3.5-moe" and name in ("gguf", "mlx"):
            return "experts of mlx-lm" if name == "mlx" else "experts of llama.cpp"
        if "factors that differ" in self.name and name == "mlx":
            return "long factors"
        if "window of" in self.name and name in ("gguf", "mlx"):
            return "no window"
        return ""

    def write(self, folder: Path) -> Path:
        """Write the checkpoint."""
        write_checkpoint(folder, BASES[self.family], **{"layers": 2, **self.options})
        if BASES[self.family].longrope:
            use_one_factor(folder)
        self.edit(folder)
        return folder

    def write_reference(self, folder: Path, limit: Limit) -> Path:
        """Write the checkpoint from which transformers computes a runtime's expected result."""
        self._replace(edit=self.reference or self.edit).write(folder)
        if limit == "long factors":
            use_one_factor(folder)
        scaling = read_config(folder).get("rope_scaling")
        if limit == "experts of llama.cpp" and scaling:
            scale = math.sqrt(1 + math.log(LONG_CONTEXT / ORIGINAL_CONTEXT, ORIGINAL_CONTEXT))
            usual = {"short_mscale": scale, "long_mscale": scale}
            change_json(folder / "config.json", rope_scaling=scaling | usual)
        if limit == "no window":
            change_json(folder / "config.json", sliding_window=None)
        return folder


# Without longrope, so that all runtimes agree on short contexts: MLX uses only its long factors.
BASES: dict[str, Family] = {
    **FAMILIES,
    "tied": dataclasses.replace(FAMILIES["phi-4-mini"], name="tied", longrope=False),
}


def use_one_factor(folder: Path) -> None:
    """Use longrope's long factors for short contexts too."""
    path = folder / "config.json"
    scaling = read_config(folder)["rope_scaling"]
    change_json(path, rope_scaling=scaling | {"short_factor": scaling["long_factor"]})


def read_config(folder: Path) -> dict[str, Any]:
    """config.json."""
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

    def edit_in_order(folder: Path) -> None:
        for edit in edits:
            edit(folder)

    return edit_in_order


def unchanged(folder: Path) -> None: ...
