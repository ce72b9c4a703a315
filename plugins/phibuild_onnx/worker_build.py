"""Builds an ONNX artifact with ONNX Runtime GenAI's own model builder, as its command line does."""

from __future__ import annotations

import io
import os
import re
import sys
from importlib import import_module
from typing import Any

import phiworker

_LAYER = re.compile(r"layer (\d+)")


def main(job: phiworker.Job) -> None:
    # The builder stamps the commit of a repository that its environment lies in, and torch's
    # kernels for wider registers round some sums differently: neither may reach the bytes.
    os.environ |= {"GIT_DIR": os.devnull, "ATEN_CPU_CAPABILITY": "default"}
    job.progress(None, "import torch and the builder")
    import_module("onnxruntime_genai.models")  # puts the builder's own modules on the path
    builder = import_module("builder")
    recipe = dict(job.recipe)
    place: tuple[Any, ...] = (
        "",
        str(job.inputs["model"]),
        str(job.output),
        recipe.pop("precision"),
        recipe.pop("execution_provider"),
        str(job.scratch / "cache"),
    )
    sys.stdout = Watched(sys.stdout, job)
    options = builder.parse_extra_options(
        *place, [f"{name}={spelt(recipe[name])}" for name in recipe]
    )
    job.progress(None, "build the graph")
    builder.create_model(*place, **options)


def spelt(value: Any) -> str:
    """An option's value as the builder's command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        if value and isinstance(value[0], list):
            return ",".join(":".join(pair) for pair in value)
        return ("/" if set(value) <= {"MatMul", "Gather"} else ",").join(value)
    return str(value)


class Watched(io.TextIOBase):
    """The log, with the layer that the builder says it reads told as progress."""

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
