"""Exports a checkpoint to OpenVINO IR, compressed already if that takes no calibration text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import phiworker

if TYPE_CHECKING:
    from phibuild_openvino import ir_compression, toolkit
else:
    import ir_compression
    import toolkit

# Shares of the time that a compressing export of a billion parameters takes.
TRACING = 0.15
SPANS = {
    "loading weights": (0.1, TRACING),
    "mixed-precision assignment": (0.5, 0.6),
    "applying data-free awq": (0.6, 0.7),
    "applying weight compression": (0.7, 1.0),
}


def main(job: phiworker.Job) -> None:
    toolkit.forbid_telemetry()
    toolkit.fix_sums()
    toolkit.pass_on_progress(job, SPANS)
    job.progress(None, "import optimum")
    if job.recipe["precision"] not in ("int8", "int4"):
        export(job, job.output)
        return
    floats = job.scratch / "floats"
    export(job, floats)
    ir_compression.compress(floats, job.output, job.recipe)


def export(job: phiworker.Job, output: Path) -> None:
    """What optimum-cli does for these precisions, with the model's own library and task given."""
    import torch
    from optimum.exporters.openvino import main_export
    from optimum.intel import OVConfig

    torch.set_num_threads(job.threads)
    precision = job.recipe["precision"]
    main_export(
        str(job.inputs["model"]),
        output,
        task="text-generation-with-past",
        framework="pt",
        library_name="transformers",
        local_files_only=True,
        trust_remote_code=False,
        convert_tokenizer=True,
        ov_config=OVConfig(dtype=precision)
        if precision in ("fp16", "fp32")
        # That the weights are to be compressed, no more: without it Optimum would mark the IR as
        # one of floats, and compress what has a billion parameters to int8 itself.
        else OVConfig(quantization_config={"bits": 8}),
    )
    refuse_without_tokenizer(output)


def refuse_without_tokenizer(output: Path) -> None:
    """Optimum passes over a tokenizer that it cannot convert; the IR could not generate then."""
    for kind in ("tokenizer", "detokenizer"):
        if not (output / f"openvino_{kind}.xml").is_file():
            raise phiworker.WorkerError(
                f"OpenVINO could not convert the checkpoint's tokenizer: no {kind} came out",
                hint="the log says why; is tokenizer.json of the kind that the published Phi"
                " models have?",
            )


if __name__ == "__main__":
    phiworker.run(main)
