"""Computes the size of a GGUF artifact; runs under phibuild's Python and reads no weights."""

from __future__ import annotations

import json

import phiworker

from phibuild_gguf.writing.planned_files import plan_contents, tensors_of_recipe


def main(job: phiworker.Job) -> None:
    size = sum(file.size for file in plan_contents(job, tensors_of_recipe(job)).files)
    job.output.write_text(json.dumps({"bytes": size}), "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
