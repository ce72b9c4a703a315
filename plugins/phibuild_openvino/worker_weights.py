"""Exports a checkpoint to OpenVINO IR, compressed unless that needs a calibration text.

The output has `model`, which is a part of the artifact, and `base`, the JSON files that Optimum
writes without knowing the tokenizer and the generation settings.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import phitransformers
import phiworker

from phibuild_openvino import ir_compression, ir_writer, process_setup

# Shares of the time of a compressing export of a billion parameters.
SPANS = {
    "loading weights": (0.1, 0.15),
    "mixed-precision assignment": (0.4, 0.5),
    "applying data-free awq": (0.5, 0.6),
    "applying weight compression": (0.6, 0.95),
}
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def main(job: phiworker.Job) -> None:
    process_setup.forbid_telemetry()
    process_setup.pass_on_progress(job, SPANS)
    exported = job.scratch / "exported"
    export(job, checkpoint_without_ids(job), exported)
    model = job.output / "model"
    model.mkdir(parents=True)
    for file in (*exported.glob(f"{ir_writer.MODEL}.*"), *exported.glob("openvino_config.json")):
        file.rename(model / file.name)
    base = job.output / "base"
    base.mkdir()
    config = json.loads((exported / "config.json").read_text("utf-8"))
    generation = json.loads((exported / "generation_config.json").read_text("utf-8"))
    ids = default_ids(config["model_type"])
    known = {name: value for name, value in ids.items() if value is not None}
    (base / "config.json").write_text(json.dumps(config | ids), "utf-8")
    (base / "generation_config.json").write_text(json.dumps(generation | known), "utf-8")


def checkpoint_without_ids(job: phiworker.Job) -> Path:
    """The model's folder with a config.json that sets no special tokens: the architecture's default
    may be outside of the vocabulary, which torch refuses."""
    folder = job.scratch / "checkpoint"
    folder.mkdir()
    for file in job.inputs["model"].iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file)
    config = json.loads((job.inputs["model"] / "config.json").read_text("utf-8"))
    text = json.dumps(config | dict.fromkeys(TOKEN_IDS))
    (folder / "config.json").write_text(text, "utf-8")
    return folder


def default_ids(model_type: str) -> dict[str, int | None]:
    """The special tokens of a config.json that does not set them."""
    from transformers import AutoConfig

    defaults = AutoConfig.for_model(model_type).to_dict()
    return {name: defaults[name] for name in TOKEN_IDS if name in defaults}


def export(job: phiworker.Job, source: Path, output: Path) -> None:
    """The export of optimum-cli for these precisions, with the model's library and task given."""
    with job.importing("optimum"):
        import torch
        from optimum.exporters.openvino import main_export
        from optimum.intel import OVConfig

    phitransformers.load_strictly(job.tensors)
    torch.set_num_threads(job.threads)
    precision = job.recipe["precision"]

    def save(model: Any, path: Path, compress_to_fp16: bool) -> None:
        """Compress the IR before it is written: optimum-cli writes it as floats first, two bytes
        per weight, and reads it again."""
        if precision in ("int8", "int4"):
            model = ir_compression.compressed(model, job.recipe)
            config = ir_compression.optimum_config(job.recipe)
            (output / "openvino_config.json").write_text(config, "utf-8")
        ir_writer.save(model, path, compress_to_fp16=compress_to_fp16)

    # Optimum has no option for this.
    import_module("optimum.exporters.openvino.convert").save_model = save  # type: ignore[attr-defined]
    main_export(
        str(source),
        output,
        task="text-generation-with-past",
        framework="pt",
        library_name="transformers",
        local_files_only=True,
        trust_remote_code=False,
        convert_tokenizer=False,
        ov_config=OVConfig(dtype=precision)
        if precision in ("fp16", "fp32")
        # Any compression will do. Without it Optimum would mark the IR as one of floats, and
        # compress models of a billion parameters to int8 itself.
        else OVConfig(quantization_config={"bits": 8}),
    )


if __name__ == "__main__":
    phiworker.run(main)
