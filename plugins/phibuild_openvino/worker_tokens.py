"""Converts a calibration text to token ids with the model's own tokenizer."""

from __future__ import annotations

import json

import phiworker


def main(job: phiworker.Job) -> None:
    from tokenizers import Tokenizer

    try:
        text = job.inputs["calibration"].read_text("utf-8")
    except UnicodeDecodeError as error:
        raise phiworker.WorkerError(
            f"the calibration text is not UTF-8: {error}", hint="save it as UTF-8", code="PHI203"
        ) from None
    tokenizer = Tokenizer.from_file(str(job.inputs["tokenizer"]))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    job.output.write_text(json.dumps(tokenizer.encode(text).ids), "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
