"""Converts the weights with mlx-lm's own converter, without a tokenizer: `model/` belongs to the
artifact, `base/` to the action mlx.sidecar.

Always on the CPU, so that a Mac's GPU and a build server without one make the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from pathlib import Path
from typing import Any

import phiworker

AHEAD = 3
"""Tensors that are begun before the first of them is awaited."""


def main(job: phiworker.Job) -> None:
    model = job.inputs["model"]
    refuse_code(model)
    job.progress(None, "import mlx-lm")
    import mlx.core as mx
    from mlx_lm import utils
    from mlx_lm.convert import convert

    mx.set_default_device(mx.cpu)
    saving = Saving(job, mx, utils)
    utils.make_shards, mx.save_safetensors = saving.make_shards, saving.save_safetensors
    utils.load_tokenizer = lambda *place, **options: NoTokenizer()
    utils.create_model_card = lambda *place: None  # it would say nothing of this model
    recipe = job.recipe
    quantization = (
        {
            "quantize": True,
            "q_bits": recipe["bits"],
            "q_group_size": recipe["group_size"],
            "q_mode": recipe["mode"],
            "quant_predicate": recipe["quant_predicate"],
        }
        if recipe["quantize"]
        else {}
    )
    dtype = recipe["dtype"] if recipe["dtype"] != "source" else dtype_of(model, mx)
    job.progress(0.0, "load")
    try:
        convert(str(model), str(job.output / "model"), dtype=dtype, **quantization)
    except ValueError as error:
        raise phiworker.WorkerError(
            f"mlx-lm could not load the checkpoint: {' '.join(str(error).split())[:300]}",
            hint="do its tensors and its config.json belong together?",
        ) from error
    (job.output / "base").mkdir()
    (job.output / "model" / "config.json").rename(job.output / "base" / "config.json")


class NoTokenizer:
    """Stands where mlx-lm has a tokenizer that it only saves again: that is the sidecar's."""

    def save_pretrained(self, folder: Path) -> None: ...


def refuse_code(model: Path) -> None:
    """mlx-lm runs the Python file that `model_file` names, and asks nobody."""
    if "model_file" in json.loads((model / "config.json").read_text("utf-8")):
        raise phiworker.WorkerError(
            "config.json has model_file, which names Python code that mlx-lm would run",
            hint="remove the field",
            code="PHI204",
        )


def dtype_of(model: Path, mx: Any) -> str:
    """The floating point type that most of the weights have. Loading is lazy: it reads headers."""
    weights: Counter[str] = Counter()
    for shard in sorted(model.glob("*.safetensors")):
        for array in mx.load(str(shard)).values():
            if mx.issubdtype(array.dtype, mx.floating):
                weights[str(array.dtype).rpartition(".")[2]] += array.size
    return max(sorted(weights), key=lambda name: weights[name], default="float16")


class Saving:
    """Stands in for the two functions that mlx-lm saves through, to see how far it is.

    All work is lazy until a shard is saved, and was then done at once: a few tensors at a time give
    the same bytes, less memory, and something to tell. MLX reads the next ones meanwhile.
    """

    def __init__(self, job: phiworker.Job, mx: Any, utils: Any) -> None:
        self.job = job
        self.begin, self.finish = mx.async_eval, mx.eval
        self.save = mx.save_safetensors
        self.split = utils.make_shards
        self.count = self.done = 0
        self.size = self.finished = 0

    def make_shards(self, weights: dict[str, Any], **options: Any) -> Any:
        self.count = len(weights)
        self.size = sum(array.nbytes for array in weights.values())
        return self.split(weights, **options)

    def save_safetensors(self, path: str, arrays: dict[str, Any], **options: Any) -> None:
        begun: deque[Any] = deque()
        for array in arrays.values():
            self.begin(array)
            begun.append(array)
            if len(begun) > AHEAD:
                self.await_one(begun.popleft())
        for array in begun:
            self.await_one(array)
        self.job.progress(self.finished / max(self.size, 1), f"write {Path(path).name}")
        self.save(path, arrays, **options)

    def await_one(self, array: Any) -> None:
        self.finish(array)
        self.done += 1
        self.finished += array.nbytes
        share = self.finished / max(self.size, 1)
        self.job.progress(share, f"tensor {self.done} of {self.count}")


if __name__ == "__main__":
    phiworker.run(main)
