"""Converts the weights with mlx-lm's own converter, without a tokenizer: `model/` belongs to the
artifact, `base/` to the action mlx.sidecar. What an earlier artifact has is taken from there.

Always on the CPU, so that a Mac's GPU and a build server without one make the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter, deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
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
    """Stands in for the two functions that mlx-lm saves through, to see how far it is and to make
    only what no earlier artifact has.

    All work is lazy until a shard is saved, and was then done at once: a few tensors at a time give
    the same bytes, less memory, and something to tell. MLX reads the next ones meanwhile.
    """

    def __init__(self, job: phiworker.Job, mx: Any, utils: Any) -> None:
        self.job, self.mx = job, mx
        self.sources = {one.name: one for one in job.tensors}
        self.save = mx.save_safetensors
        self.split = utils.make_shards
        self.count = self.done = self.taken = 0
        self.size = self.finished = 0

    def make_shards(self, weights: dict[str, Any], **options: Any) -> Any:
        self.count = len(weights)
        self.size = sum(array.nbytes for array in weights.values())
        return self.split(weights, **options)

    def save_safetensors(self, path: str, arrays: dict[str, Any], **options: Any) -> None:
        keys = {name: key for name, array in arrays.items() if (key := self.key(name, array))}
        self.take_known(arrays, keys)
        with ThreadPoolExecutor(1) as pool:
            digests = self.evaluate(arrays, keys, pool)
            self.job.progress(self.finished / max(self.size, 1), f"write {Path(path).name}")
            self.save(path, arrays, **options)
            sha256 = {name: digest.result() for name, digest in digests.items()}
        self.remember(Path(path), keys, sha256)

    def key(self, name: str, array: Any) -> str | None:
        """The name of an array's bytes, if it is made of one tensor of the checkpoint and nothing
        else: a matrix, or the scales or offsets that belong to it."""
        stem, _, kind = name.rpartition(".")
        source = self.sources.get(f"{stem}.weight" if kind in ("scales", "biases") else name)
        if source is None:
            return None
        facts: list[object] = ["mlx tensor", self.job.identity, self.job.recipe, kind]
        facts += [source.dtype, source.shape, source.sha256, str(array.dtype), array.shape]
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

    def evaluate(
        self, arrays: dict[str, Any], keys: dict[str, str], pool: Executor
    ) -> dict[str, Future[str]]:
        """Make the arrays, and in the pool the digests of those that have a key: MLX computes on
        one core, so that digests cost no time where there is a second one."""
        digests = {}
        begun: deque[tuple[str, Any]] = deque()
        for name, array in (*arrays.items(), *[("", None)] * AHEAD):
            if array is not None:
                self.mx.async_eval(array)
            begun.append((name, array))
            if len(begun) > AHEAD:
                name, oldest = begun.popleft()
                self.mx.eval(oldest)
                self.tell(oldest)
                if name in keys:
                    content = oldest.view(self.mx.uint8) if oldest.ndim else oldest
                    self.mx.eval(content)
                    digests[name] = pool.submit(sha256_of, memoryview(content))
        return digests

    def remember(self, path: Path, keys: dict[str, str], sha256: dict[str, str]) -> None:
        """Name the arrays of a file that was written, so that another artifact can take them."""
        places = places_of(path)
        file = path.relative_to(self.job.output).as_posix()
        for name, key in keys.items():
            begin, end = places[name]
            self.job.remember(key, file=file, offset=begin, size=end - begin, sha256=sha256[name])

    def tell(self, array: Any) -> None:
        self.done += 1
        self.finished += array.nbytes
        share = self.finished / max(self.size, 1)
        made = self.done - self.taken
        self.job.progress(share, f"tensors: {made} made, {self.taken} taken of {self.count}")


def sha256_of(content: memoryview) -> str:
    return hashlib.sha256(content).hexdigest()


def places_of(path: Path) -> dict[str, tuple[int, int]]:
    """Where the tensors of a safetensors file begin and end in it."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {
        name: (8 + length + one["data_offsets"][0], 8 + length + one["data_offsets"][1])
        for name, one in header.items()
        if name != "__metadata__"
    }


if __name__ == "__main__":
    phiworker.run(main)
