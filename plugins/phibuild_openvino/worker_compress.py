"""Compresses a float IR to int4 with NNCF, guided by a calibration text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import phiworker

if TYPE_CHECKING:
    from phibuild_openvino import ir_compression, toolkit
else:
    import ir_compression
    import toolkit

# In the order in which they come, if they come; shares of the time with scale estimation.
SPANS = {
    "statistics collection": (0.0, 0.2),
    "mixed-precision assignment": (0.2, 0.25),
    "applying data-aware awq": (0.25, 0.4),
    "applying scale estimation": (0.4, 0.9),
    "applying gptq": (0.4, 0.9),
    "applying weight compression": (0.9, 1.0),
}


def main(job: phiworker.Job) -> None:
    toolkit.forbid_telemetry()
    toolkit.fix_sums()
    toolkit.pass_on_progress(job, SPANS)
    job.progress(None, "import nncf")
    pieces = pieces_of(
        token_ids(job), seq_len=job.recipe["seq_len"], most=job.recipe["num_samples"]
    )
    ir_compression.compress(
        job.inputs["ir"],
        job.output,
        job.recipe,
        samples=lambda model: [inputs_of(model, piece) for piece in pieces],
    )


def token_ids(job: phiworker.Job) -> Sequence[int]:
    """The calibration text as the model's own tokenizer reads it."""
    from tokenizers import Tokenizer

    try:
        text = job.inputs["calibration"].read_text("utf-8")
    except UnicodeDecodeError as error:
        raise phiworker.WorkerError(
            f"the calibration text is not UTF-8: {error}", hint="save it as UTF-8", code="PHI203"
        ) from None
    tokenizer = Tokenizer.from_file(str(job.inputs["ir"] / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids: Sequence[int] = tokenizer.encode(text).ids
    return ids


def pieces_of(ids: Sequence[int], *, seq_len: int, most: int) -> list[Sequence[int]]:
    """At most so many pieces of `seq_len` tokens, spread evenly over the text, without a rest."""
    whole = len(ids) // seq_len
    if whole == 0:
        raise phiworker.WorkerError(
            f"the calibration text has {len(ids)} tokens, fewer than one piece of {seq_len}",
            hint="take a longer text, or a smaller seq_len",
            code="PHI203",
        )
    count = min(most, whole)
    starts = [number * whole // count * seq_len for number in range(count)]
    return [ids[start : start + seq_len] for start in starts]


def inputs_of(model: Any, piece: Sequence[int]) -> dict[str, Any]:
    """One piece as the inputs that the exported model has, from an empty cache."""
    import numpy as np

    tokens = np.array([piece], dtype=np.int64)
    known = {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "position_ids": np.arange(len(piece), dtype=np.int64)[None],
        "beam_idx": np.zeros(1, dtype=np.int32),
    }
    return {port.any_name: known[port.any_name] for port in model.inputs}


if __name__ == "__main__":
    phiworker.run(main)
