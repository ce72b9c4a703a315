"""Compresses a float IR to int4 with NNCF, guided by a calibration text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import phiworker

from phibuild_openvino import ir_compression, ir_writer, process_setup

# In the order of their appearance, if they appear; shares of the time with scale estimation.
SPANS = {
    "statistics collection": (0.0, 0.2),
    "mixed-precision assignment": (0.2, 0.25),
    "applying data-aware awq": (0.25, 0.4),
    "applying scale estimation": (0.4, 0.9),
    "applying gptq": (0.4, 0.9),
    "applying weight compression": (0.9, 1.0),
}


def main(job: phiworker.Job) -> None:
    process_setup.forbid_telemetry()
    process_setup.fix_sums()
    process_setup.pass_on_progress(job, SPANS)
    with job.importing("nncf"):
        import nncf  # noqa: F401
        import openvino

    pieces = pieces_of(
        json.loads(job.inputs["tokens"].read_text("utf-8")),
        seq_len=job.recipe["seq_len"],
        most=job.recipe["num_samples"],
    )
    name = f"{ir_writer.MODEL}.xml"
    model = ir_compression.compressed(
        openvino.Core().read_model(job.inputs["ir"] / name),
        job.recipe,
        samples=lambda model: [inputs_of(model, piece) for piece in pieces],
    )
    job.output.mkdir()
    ir_writer.save(model, job.output / name)
    config = ir_compression.optimum_config(job.recipe)
    (job.output / "openvino_config.json").write_text(config, "utf-8")


def pieces_of(ids: Sequence[int], *, seq_len: int, most: int) -> list[Sequence[int]]:
    """At most `most` whole pieces of `seq_len` tokens, spread evenly over the text."""
    whole = len(ids) // seq_len
    if whole == 0:
        raise phiworker.WorkerError(
            f"the calibration text has {len(ids)} tokens, fewer than one piece of {seq_len}",
            hint="use a longer text, or a smaller seq_len",
            code="PHI203",
        )
    count = min(most, whole)
    starts = [number * whole // count * seq_len for number in range(count)]
    return [ids[start : start + seq_len] for start in starts]


def inputs_of(model: Any, piece: Sequence[int]) -> dict[str, Any]:
    """A piece as inputs of the exported model, with an empty cache."""
    import numpy as np

    tokens = np.array([piece], dtype=np.int64)
    values = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "position_ids": np.arange(len(piece), dtype=np.int64)[None],
        "beam_idx": np.zeros(1, dtype=np.int32),
    }
    return {port.any_name: values[port.any_name] for port in model.inputs}


if __name__ == "__main__":
    phiworker.run(main)
