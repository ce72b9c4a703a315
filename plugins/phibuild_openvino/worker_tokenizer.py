"""Converts tokenizer and detokenizer to IR, and writes the tokenizer's files as Optimum does.

The output has `files`, a part of the artifact, and `base`, the XML of both IRs without the chat
template.
"""

from __future__ import annotations

import phiworker

from phibuild_openvino import ir_writer, process_setup


def main(job: phiworker.Job) -> None:
    process_setup.forbid_telemetry()
    process_setup.hide_torch()
    with job.importing("openvino_tokenizers"):
        from openvino_tokenizers import convert_tokenizer
        from transformers import AutoTokenizer

    files = job.output / "files"
    base = job.output / "base"
    base.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(str(job.inputs["model"]), trust_remote_code=False)
    tokenizer.save_pretrained(files)
    # As in Optimum for models that generate text, whose batches must end together.
    tokenizer.padding_side = "left"
    tokenizer.truncation_side = "left"
    try:
        converted = convert_tokenizer(tokenizer, with_detokenizer=True)
    except Exception as error:
        raise phiworker.WorkerError(
            f"OpenVINO could not convert the checkpoint's tokenizer: {error}",
            hint="compare tokenizer.json with that of the published Phi models",
        ) from error
    for kind, model in zip(("tokenizer", "detokenizer"), converted, strict=True):
        document = base / f"openvino_{kind}.xml"
        ir_writer.save(model, document)
        weights = document.with_suffix(".bin")
        weights.rename(files / weights.name)


if __name__ == "__main__":
    phiworker.run(main)
