"""Builds the graph and its weights with ONNX Runtime GenAI's model builder, as its command line
does, but without a tokenizer. `model/` is a part of the artifact, `base/` an input of onnx.sidecar.
"""

from __future__ import annotations

import difflib
import io
import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import phitransformers
import phiworker

SCALES = "kv_cache_scale_file"
_LAYER = re.compile(r"layer (\d+)")


def main(job: phiworker.Job) -> None:
    # The builder records the commit of the repository that contains its environment, and torch's
    # kernels for wider registers round some sums differently: neither may change the bytes.
    os.environ |= {"GIT_DIR": os.devnull, "ATEN_CPU_CAPABILITY": "default"}
    with job.importing("torch and the builder"):
        import_module("onnxruntime_genai.models")  # puts the builder's own modules on the path
        builder = import_module("builder")
    phitransformers.load_strictly(job.tensors)
    skip_tokens(builder)
    use_gqa_for_halves(builder)
    recipe = dict(job.recipe)
    positional: tuple[Any, ...] = (
        "",
        str(without_padding(job.inputs["model"], job.scratch / "model")),
        str(job.output / "model"),
        recipe.pop("precision"),
        recipe.pop("execution_provider"),
        str(job.scratch / "cache"),
    )
    sys.stdout = ProgressLog(sys.stdout, job)
    spelled = [f"{name}={as_option(recipe[name])}" for name in recipe]
    if SCALES in job.inputs:
        spelled.append(f"{SCALES}={job.inputs[SCALES]}")
    options = builder.parse_extra_options(*positional, spelled)
    keep_window(options)
    keep_epsilon(options)
    refuse_unknown(builder, recipe.get("nodes_to_exclude", []))
    job.progress(None, "build the graph")
    try:
        builder.create_model(*positional, **options)
    except ValueError as error:
        if SCALES not in str(error) and "cales file" not in str(error):
            raise
        raise phiworker.WorkerError(
            f"OnnxGenAI: the scales do not fit the model: {error}",
            hint="measure them on an artifact of this model, built without kv_cache_quant_scheme",
            code="PHI203",
        ) from None
    (job.output / "base").mkdir()
    (job.output / "model" / "genai_config.json").rename(job.output / "base" / "genai_config.json")


def without_padding(view: Path, folder: Path) -> Path:
    """A copy of the view whose config.json sets no padding token. Left out, it would be the class's
    default, which transformers refuses if the vocabulary is too small for it."""
    folder.mkdir()
    for path in view.iterdir():
        (folder / path.name).symlink_to(path)
    config = json.loads((view / "config.json").read_text("utf-8"))
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": None}), "utf-8")
    return folder


def skip_tokens(builder: Any) -> None:
    """Leave tokens and sampling to the sidecar: genai_config.json gets the ids that are the default
    of the model's class, and no tokenizer is loaded or saved."""

    class NoTokenizer:
        @staticmethod
        def from_pretrained(*place: Any, **options: Any) -> None: ...

    def ids_of_class(model: Any, config: Any, options: Any) -> tuple[Any, ...]:
        unset = type(config)()
        return unset.bos_token_id, unset.eos_token_id, unset.pad_token_id

    builder.AutoTokenizer = NoTokenizer
    builder.add_special_token_ids = lambda config, tokenizer: None
    builder.Model.resolve_special_token_ids = ids_of_class
    builder.Model.save_processing = lambda model, name, options, folder: None


def use_gqa_for_halves(builder: Any) -> None:
    """Write GroupQueryAttention in fp16 models for cpu too, where its kernel supports fp16.

    The builder would write plain attention, with which models that share keys among queries fail at
    their second token.
    """
    supported = builder.Model.is_gqa_supported

    def supported_for_halves(model: Any) -> bool:
        is_half = model.io_dtype == import_module("onnx_ir").DataType.FLOAT16
        return bool(supported(model)) or (model.ep == "cpu" and is_half)

    builder.Model.is_gqa_supported = supported_for_halves


def keep_window(options: dict[str, Any]) -> None:
    """Limit attention to the window that the model was trained with.

    The builder would write every layer without a window, and still set the window in the runtime's
    configuration: generation then fails a few tokens after it. The cache keeps its full length,
    since the runtime's shorter caches require a layer without a window.
    """
    config = options["hf_details"]["hf_config"]
    window = getattr(config, "sliding_window", None)
    if window is not None and window < config.max_position_embeddings:
        config.layer_types = ["sliding_attention"] * config.num_hidden_layers
        options["windowed_kv_cache"] = False


def keep_epsilon(options: dict[str, Any]) -> None:
    """Use config.json's epsilon in the norms of phi.

    The builder reads only the field of root mean square norms, and uses 1e-6 without it: logits
    differ in the third digit.
    """
    config = options["hf_details"]["hf_config"]
    if hasattr(config, "layer_norm_eps"):
        config.rms_norm_eps = config.layer_norm_eps


def refuse_unknown(builder: Any, excluded: list[str]) -> None:
    """Make the builder check, before it quantizes, that the nodes to exclude exist."""
    save = builder.Model.save_model

    def checked(model: Any, folder: str) -> None:
        nodes = {node.name for node in model.model.graph if node.op_type in ("MatMul", "Gather")}
        for name in excluded:
            if name not in nodes:
                close = difflib.get_close_matches(name, nodes, n=3, cutoff=0.0)
                raise phiworker.WorkerError(
                    f"OnnxGenAI: nodes_to_exclude has {name!r}, but no such node is quantized",
                    hint=f"similar names: {', '.join(sorted(close))}",
                    code="PHI203",
                )
        save(model, folder)

    builder.Model.save_model = checked


def as_option(value: Any) -> str:
    """A recipe's value in the spelling of the builder's command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return ",".join(":".join(pair) for pair in value)
        return ("/" if set(value) <= {"MatMul", "Gather"} else ",").join(value)
    return str(value)


class ProgressLog(io.TextIOBase):
    """The log, which also reports the layer that the builder prints as progress."""

    def __init__(self, log: Any, job: phiworker.Job) -> None:
        self.log = log
        self.job = job

    def write(self, text: str) -> int:
        match = _LAYER.search(text)
        if match is not None:
            self.job.progress(None, f"layer {match[1]}")
        elif "uantiz" in text:
            self.job.progress(None, "quantize")
        elif "Saving" in text:
            self.job.progress(None, "save")
        return int(self.log.write(text))

    def flush(self) -> None:
        self.log.flush()


if __name__ == "__main__":
    phiworker.run(main)
