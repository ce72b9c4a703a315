"""Converts the weights with mlx-lm's converter, but without a tokenizer. `model/` is a part of the
artifact, `base/` an input of mlx.sidecar. Arrays that an earlier artifact has are copied from it.

Always on the CPU, so that a Mac with its GPU and a build server without one write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import Any

import phiworker

from phibuild_mlx.safetensors_writer import ShardLayout, ShardStream

AHEAD = 8
"""Tensors that are started before the first of them is awaited."""
CHECK_SOURCE = "compare its tensors with config.json, or fetch the checkpoint again"


def main(job: phiworker.Job) -> None:
    model = job.inputs["model"]
    refuse_code(model)
    refuse_integers(job)
    stub_tokenizers()
    with job.importing("mlx-lm"):
        import mlx.core as mx
        from mlx_lm import utils
        from mlx_lm.convert import convert

    mx.set_default_device(mx.cpu)
    mx.quantize = on_all_cores(mx.quantize, [mx.new_stream(mx.cpu) for _ in range(job.threads)])
    writer = ShardWriter(job, mx, utils)
    utils.make_shards, mx.save_safetensors = writer.make_shards, writer.save_safetensors
    utils.load_tokenizer = lambda *path, **options: NoTokenizer()
    utils.create_model_card = lambda *path: None  # it would say nothing about this model
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
    except KeyError as error:  # mlx-lm merges experts before it compares names
        raise phiworker.WorkerError(
            f"the checkpoint lacks {error.args[0]}", hint=CHECK_SOURCE
        ) from error
    except ValueError as error:
        raise phiworker.WorkerError(
            f"mlx-lm could not load the checkpoint: {' '.join(str(error).split())[:300]}",
            hint=CHECK_SOURCE,
        ) from error
    (job.output / "base").mkdir()
    (job.output / "model" / "config.json").rename(job.output / "base" / "config.json")


class NoTokenizer:
    """Replaces the tokenizer that mlx-lm would only save again: the sidecar writes it."""

    def save_pretrained(self, folder: Path) -> None: ...


def stub_tokenizers() -> None:
    """Keep mlx-lm from importing transformers, which it uses only for tokenizers. The import takes
    a second, a sixth of the work on a model of a billion parameters."""

    def any_class(name: str) -> type[NoTokenizer]:
        if name.startswith("__"):
            raise AttributeError(name)
        return NoTokenizer

    for name in ("transformers", "mlx_lm.tokenizer_utils"):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__getattr__ = any_class  # type: ignore[method-assign]  # as in PEP 562


def on_all_cores(quantize: Callable[..., Any], streams: list[Any]) -> Callable[..., Any]:
    """Spread the work over streams: MLX runs a stream on one core, with the same bytes in any."""
    turns = cycle(streams)

    def quantize_in_turn(*arrays: Any, **options: Any) -> Any:
        return quantize(*arrays, **options | {"stream": next(turns)})

    return quantize_in_turn


def refuse_code(model: Path) -> None:
    """mlx-lm would run the Python file that `model_file` names."""
    if "model_file" in json.loads((model / "config.json").read_text("utf-8")):
        raise phiworker.WorkerError(
            "config.json has model_file, which names Python code that mlx-lm would run",
            hint="remove the field",
            code="PHI204",
        )


def refuse_integers(job: phiworker.Job) -> None:
    """mlx-lm reads integers, and FP8 as integers, without the scales that belong to them."""
    for tensor in job.tensors:
        if tensor.dtype not in ("BF16", "F16", "F32"):
            raise phiworker.WorkerError(
                f"{tensor.name} has the type {tensor.dtype}",
                hint="use a checkpoint whose tensors are BF16, F16 or F32",
            )


def dtype_of(model: Path, mx: Any) -> str:
    """The floating point type of most weights. Loading is lazy: it reads headers only."""
    weights: Counter[str] = Counter()
    for shard in sorted(model.glob("*.safetensors")):
        for array in mx.load(str(shard)).values():
            if mx.issubdtype(array.dtype, mx.floating):
                weights[str(array.dtype).rpartition(".")[2]] += array.size
    return max(sorted(weights), key=lambda name: weights[name], default="float16")


class ShardWriter:
    """Replaces the two functions through which mlx-lm saves shards, to report progress and to
    compute only the arrays that no earlier artifact has.

    MLX does all work when a shard is saved. A few tensors at a time give the same bytes, need less
    memory, and show progress: MLX reads the next tensors while another core writes finished ones.
    """

    def __init__(self, job: phiworker.Job, mx: Any, utils: Any) -> None:
        self.job, self.mx = job, mx
        self.sources = {tensor.name: tensor for tensor in job.tensors}
        self.save = mx.save_safetensors
        self.split = utils.make_shards
        self.packed: dict[str, list[object]] = {}
        self.count = self.done = self.reused = 0
        self.size = self.finished = 0

    def make_shards(self, weights: dict[str, Any], **options: Any) -> Any:
        self.packed = {name: [str(array.dtype), array.shape] for name, array in weights.items()}
        self.count = len(weights)
        self.size = sum(array.nbytes for array in weights.values())
        return self.split(weights, **options)

    def save_safetensors(self, path: str, arrays: dict[str, Any], **options: Any) -> None:
        keys = {name: key for name, array in arrays.items() if (key := self.key(name, array))}
        self.recall(arrays, keys)
        layout = ShardLayout(self.save, Path(path), arrays, **options)
        with ShardStream(Path(path), layout.header) as stream:
            digests = {
                name: self.write(arrays, name, stream) for name in self.evaluated(arrays, layout)
            }
        file = Path(path).relative_to(self.job.output).as_posix()
        self.job.written(stream.sha256, file=file)
        for name, key in keys.items():
            begin, end = layout.ranges[name]
            sha256 = digests[name].result()
            self.job.remember(key, file=file, offset=begin, size=end - begin, sha256=sha256)

    def key(self, name: str, array: Any) -> str | None:
        """The key of an array's bytes, if it depends on a single tensor of the checkpoint: a
        matrix, or its scales or offsets. The shapes of those do not show how many bits a mixed
        recipe gives the matrix, so the shape of the packed matrix is a part of the key."""
        stem, _, kind = name.rpartition(".")
        matrix = f"{stem}.weight" if kind in ("scales", "biases") else name
        source = self.sources.get(matrix)
        if source is None:
            return None
        facts: list[object] = ["mlx tensor", self.job.identity, self.job.recipe, kind]
        facts += [source.dtype, source.shape, source.sha256, str(array.dtype), array.shape]
        facts += self.packed[matrix]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def recall(self, arrays: dict[str, Any], keys: dict[str, str]) -> None:
        """Replace arrays that were computed before by their bytes."""
        pieces = self.job.recall(keys.values())
        for name, key in keys.items():
            content = pieces[key].read() if key in pieces else None
            if content is not None and len(content) == arrays[name].nbytes:
                flat = self.mx.array(memoryview(content))
                arrays[name] = flat.view(arrays[name].dtype).reshape(arrays[name].shape)
                self.reused += 1

    def evaluated(self, arrays: dict[str, Any], layout: ShardLayout) -> Iterator[str]:
        """The names in the file's order, each once its array is computed, the next begun."""
        started: deque[str] = deque()
        for name in (*layout.ranges, *[""] * AHEAD):
            if name:
                self.mx.async_eval(arrays[name])
            started.append(name)
            if len(started) > AHEAD:
                oldest = started.popleft()
                self.mx.eval(arrays[oldest])
                self.report(arrays[oldest])
                yield oldest

    def write(self, arrays: dict[str, Any], name: str, stream: ShardStream) -> Future[str]:
        """Write an array and drop it: mlx-lm needs only its name afterwards."""
        array, arrays[name] = arrays[name], None
        content = array.view(self.mx.uint8) if array.ndim else array
        self.mx.eval(content)
        return stream.write(memoryview(content).cast("B"))

    def report(self, array: Any) -> None:
        self.done += 1
        self.finished += array.nbytes
        share = self.finished / max(self.size, 1)
        computed = self.done - self.reused
        text = f"tensors: {computed} computed, {self.reused} reused of {self.count}"
        self.job.progress(share, text)


if __name__ == "__main__":
    phiworker.run(main)
