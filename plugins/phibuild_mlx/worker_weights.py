"""Converts the weights with mlx-lm's own converter, without a tokenizer: `model/` belongs to the
artifact, `base/` to the action mlx.sidecar. What an earlier artifact has is taken from there.

Always on the CPU, so that a Mac's GPU and a build server without one make the same bytes.
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

from phibuild_mlx.safetensors_writer import Layout, Stream

AHEAD = 8
"""Tensors that are begun before the first of them is awaited."""
MISFIT = "compare its tensors with config.json, or fetch the checkpoint again"


def main(job: phiworker.Job) -> None:
    model = job.inputs["model"]
    refuse_code(model)
    refuse_integers(job)
    leave_tokenizers_out()
    with job.importing("mlx-lm"):
        import mlx.core as mx
        from mlx_lm import utils
        from mlx_lm.convert import convert

    mx.set_default_device(mx.cpu)
    mx.quantize = on_all_cores(mx.quantize, [mx.new_stream(mx.cpu) for _ in range(job.threads)])
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
    except KeyError as error:  # mlx-lm puts experts together before it compares names
        raise phiworker.WorkerError(f"the checkpoint lacks {error.args[0]}", hint=MISFIT) from error
    except ValueError as error:
        raise phiworker.WorkerError(
            f"mlx-lm could not load the checkpoint: {' '.join(str(error).split())[:300]}",
            hint=MISFIT,
        ) from error
    (job.output / "base").mkdir()
    (job.output / "model" / "config.json").rename(job.output / "base" / "config.json")


class NoTokenizer:
    """Stands where mlx-lm has a tokenizer that it only saves again: that is the sidecar's."""

    def save_pretrained(self, folder: Path) -> None: ...


def leave_tokenizers_out() -> None:
    """mlx-lm imports transformers for the classes of tokenizers alone, and here there is none: that
    takes a second, a sixth of the work on a model of a billion parameters."""

    def any_class(name: str) -> type[NoTokenizer]:
        if name.startswith("__"):
            raise AttributeError(name)
        return NoTokenizer

    for name in ("transformers", "mlx_lm.tokenizer_utils"):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__getattr__ = any_class  # type: ignore[method-assign]  # as in PEP 562


def on_all_cores(quantize: Callable[..., Any], streams: list[Any]) -> Callable[..., Any]:
    """MLX computes what is in one stream on one core, with the same bytes in any."""
    taking_turns = cycle(streams)

    def quantize_somewhere(*arrays: Any, **options: Any) -> Any:
        return quantize(*arrays, **options | {"stream": next(taking_turns)})

    return quantize_somewhere


def refuse_code(model: Path) -> None:
    """mlx-lm runs the Python file that `model_file` names, and asks nobody."""
    if "model_file" in json.loads((model / "config.json").read_text("utf-8")):
        raise phiworker.WorkerError(
            "config.json has model_file, which names Python code that mlx-lm would run",
            hint="remove the field",
            code="PHI204",
        )


def refuse_integers(job: phiworker.Job) -> None:
    """mlx-lm reads integers, and FP8 as integers, without the scales that belong to them."""
    for one in job.tensors:
        if one.dtype not in ("BF16", "F16", "F32"):
            raise phiworker.WorkerError(
                f"{one.name} has the type {one.dtype}",
                hint="use a checkpoint whose tensors are BF16, F16 or F32",
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
    """Stands in for the two functions that mlx-lm saves through, to see how far it is and to make
    only what no earlier artifact has.

    All work is lazy until a shard is saved, and was then done at once: a few tensors at a time give
    the same bytes, take less memory, and leave something to tell. MLX reads the next ones
    meanwhile, and another core writes those that are finished.
    """

    def __init__(self, job: phiworker.Job, mx: Any, utils: Any) -> None:
        self.job, self.mx = job, mx
        self.sources = {one.name: one for one in job.tensors}
        self.save = mx.save_safetensors
        self.split = utils.make_shards
        self.packed: dict[str, list[object]] = {}
        self.count = self.done = self.taken = 0
        self.size = self.finished = 0

    def make_shards(self, weights: dict[str, Any], **options: Any) -> Any:
        self.packed = {name: [str(one.dtype), one.shape] for name, one in weights.items()}
        self.count = len(weights)
        self.size = sum(array.nbytes for array in weights.values())
        return self.split(weights, **options)

    def save_safetensors(self, path: str, arrays: dict[str, Any], **options: Any) -> None:
        keys = {name: key for name, array in arrays.items() if (key := self.key(name, array))}
        self.take_known(arrays, keys)
        layout = Layout(self.save, Path(path), arrays, **options)
        with Stream(Path(path), layout.header) as stream:
            digests = {name: self.write(arrays, name, stream) for name in self.made(arrays, layout)}
        file = Path(path).relative_to(self.job.output).as_posix()
        self.job.written(stream.sha256, file=file)
        for name, key in keys.items():
            begin, end = layout.places[name]
            sha256 = digests[name].result()
            self.job.remember(key, file=file, offset=begin, size=end - begin, sha256=sha256)

    def key(self, name: str, array: Any) -> str | None:
        """The name of an array's bytes, if it is made of one tensor of the checkpoint and nothing
        else: a matrix, or the scales or offsets that belong to it. Their own shapes do not tell
        how many bits a mixed recipe gives the matrix: its shape when packed does."""
        stem, _, kind = name.rpartition(".")
        matrix = f"{stem}.weight" if kind in ("scales", "biases") else name
        source = self.sources.get(matrix)
        if source is None:
            return None
        facts: list[object] = ["mlx tensor", self.job.identity, self.job.recipe, kind]
        facts += [source.dtype, source.shape, source.sha256, str(array.dtype), array.shape]
        facts += self.packed[matrix]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def take_known(self, arrays: dict[str, Any], keys: dict[str, str]) -> None:
        """Put arrays that were made before in the place of what would make them."""
        pieces = self.job.recall(keys.values())
        for name, key in keys.items():
            content = pieces[key].read() if key in pieces else None
            if content is not None and len(content) == arrays[name].nbytes:
                flat = self.mx.array(memoryview(content))
                arrays[name] = flat.view(arrays[name].dtype).reshape(arrays[name].shape)
                self.taken += 1

    def made(self, arrays: dict[str, Any], layout: Layout) -> Iterator[str]:
        """The names in the file's order, each when its array is made and the next are begun."""
        begun: deque[str] = deque()
        for name in (*layout.places, *[""] * AHEAD):
            if name:
                self.mx.async_eval(arrays[name])
            begun.append(name)
            if len(begun) > AHEAD:
                oldest = begun.popleft()
                self.mx.eval(arrays[oldest])
                self.tell(arrays[oldest])
                yield oldest

    def write(self, arrays: dict[str, Any], name: str, stream: Stream) -> Future[str]:
        """Have an array written, and forget it: mlx-lm asks for no more than the names."""
        array, arrays[name] = arrays[name], None
        content = array.view(self.mx.uint8) if array.ndim else array
        self.mx.eval(content)
        return stream.write(memoryview(content).cast("B"))

    def tell(self, array: Any) -> None:
        self.done += 1
        self.finished += array.nbytes
        share = self.finished / max(self.size, 1)
        made = self.done - self.taken
        self.job.progress(share, f"tensors: {made} made, {self.taken} taken of {self.count}")


if __name__ == "__main__":
    phiworker.run(main)
