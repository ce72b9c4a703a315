"""The table of checkpoints and formats: what each cell came to, in one build and one run of each
runtime for all of them."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from phibuild.engine.realize import realize_tool
from phibuild.engine.workshop import Workshop
from tests.backends.faults import FORMATS, Fault
from tests.backends.llama_scores import mean_of_logits, scores
from tests.backends.slices import OFFLINE
from tests.conftest import Project, Ran

PROGRAM = Path(__file__).with_name("logits_program.py")
IDS = [5, 300, 301, 302, 303, 304, 305, 306, 307, 308]
TOLERANCE = {"gguf": 1e-5, "onnx": 2e-5, "openvino": 2e-5, "mlx": 2e-5}
"""The largest difference to transformers' float32 logits, whose standard deviation is about 1; of
GGUF to the mean log-probabilities that they give."""

SCONSTRUCT = """\
import json, SCons.Errors
FORMATS = {
    "gguf": lambda target, phi: env.GGUF(target + ".gguf", phi, quant="F32"),
    "onnx": lambda target, phi: env.OnnxGenAI(target, phi, precision="fp32"),
    "openvino": lambda target, phi: env.OpenVINO(target, phi, precision="fp32"),
    "mlx": lambda target, phi: env.MLX(target, phi, precision="fp32"),
}
refused = []
for number in range(COUNT):
    for format, build in FORMATS.items():
        try:
            build(f"dist/{number}-{format}", env.PhiModel(f"models/{number}"))
        except SCons.Errors.StopError as error:
            refused.append([number, format, str(error)])
with open("refused.json", "w") as file:
    json.dump(refused, file)
"""


class Cell(NamedTuple):
    """One fault in one format: `outcome` is right, refused or wrong, and `why` tells of it."""

    fault: str
    format: str
    outcome: str
    why: str


def table(project: Project, faults: Sequence[Fault], *arguments: str) -> list[Cell]:
    """Write all checkpoints, declare all artifacts in one SConstruct, build those that are not
    refused, and run them."""
    for number, fault in enumerate(faults):
        fault.write(project.folder / "models" / str(number))
    project.sconstruct(SCONSTRUCT.replace("COUNT", str(len(faults))))
    ran = project.scons("-k", "-j2", *arguments)
    assert (project.folder / "refused.json").exists(), ran.text
    refusals = refusals_of(project)
    runs = Runs(project.folder)
    built = {
        (number, name): path
        for number in range(len(faults))
        for name in FORMATS
        if (path := artifact(project, number, name)).exists()
    }
    runs.run(built)
    return [
        cell(fault.name, name, refusals.get((number, name)), runs.of(number, name), ran, number)
        for number, fault in enumerate(faults)
        for name in FORMATS
    ]


def cell(
    fault: str, name: str, refusal: str | None, difference: float | str, ran: Ran, number: int
) -> Cell:
    if refusal is not None:
        sound = re.search(r"PHI\d{3}", refusal) and "hint: " in refusal
        return Cell(fault, name, "refused" if sound else "wrong", refusal)
    if isinstance(difference, str):
        return Cell(fault, name, "wrong", difference or late_error(ran, f"dist/{number}-{name}"))
    is_right = difference <= TOLERANCE[name]
    return Cell(fault, name, "right" if is_right else "wrong", f"differs by {difference:.1e}")


def late_error(ran: Ran, target: str) -> str:
    """What the build said of a target that was not refused, and is not there."""
    lines = [line for line in ran.text.splitlines() if target in line and "working" not in line]
    return f"failed late: {' '.join(lines)[:600]}"


def refusals_of(project: Project) -> dict[tuple[int, str], str]:
    found = json.loads((project.folder / "refused.json").read_text())
    return {(number, name): text for number, name, text in found}


def artifact(project: Project, number: int, name: str) -> Path:
    return project.folder / "dist" / f"{number}-{name}{'.gguf' if name == 'gguf' else ''}"


class Runs:
    """What each artifact computes, and transformers of its checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shop = Workshop.open()
        self.scored: dict[int, Any] = {}
        self.failed: dict[int, str] = {}
        self.built: set[tuple[int, str]] = set()

    def run(self, built: Mapping[tuple[int, str], Path]) -> None:
        self.built = set(built)
        text = self.folder / "text.txt"
        text.write_text(some_text())
        programs = realize_tool(self.shop, "llama.cpp") / "bin"
        for (number, name), path in built.items():
            if name == "gguf":
                try:
                    bos = json.loads((self.model(number) / "config.json").read_bytes())
                    self.scored[number] = scores(programs, path, text, bos.get("bos_token_id"))
                except AssertionError as error:
                    self.failed[number] = f"llama.cpp fails: {error}"
        rows = {
            number: [IDS, *(self.scored[number].rows if number in self.scored else [])]
            for number, _ in built
        }
        self.ask("openvino", "transformers", {one: self.model(one) for one in rows}, rows)
        for name in ("onnx", "openvino", "mlx"):
            paths = {number: path for (number, one), path in built.items() if one == name}
            self.ask(name, name, paths, dict.fromkeys(paths, [IDS]))

    def ask(
        self,
        toolchain: str,
        runtime: str,
        paths: Mapping[int, Path],
        rows: Mapping[int, list[list[int]]],
    ) -> None:
        jobs = self.folder / f"{runtime}.json"
        described = [
            {"path": str(path), "ids": rows[number], "output": str(self.output(number, runtime))}
            for number, path in paths.items()
        ]
        jobs.write_text(json.dumps(described))
        done = subprocess.run(
            [self.shop.python_of(toolchain), PROGRAM, runtime, jobs],
            env=os.environ | OFFLINE,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]

    def of(self, number: int, name: str) -> float | str:
        """The largest difference to transformers, or why there is none."""
        if (number, name) not in self.built:
            return ""
        reference = np.load(self.output(number, "transformers"))
        for problem in ("error", "report"):
            if text := str(reference[problem]):
                return f"built, and transformers' {problem} is: {text[-500:]}"
        if name == "gguf":
            if number in self.failed:
                return self.failed[number]
            scored = self.scored[number]
            means = [
                mean_of_logits(reference[f"row{place}"], row)
                for place, row in enumerate(scored.rows, start=1)
            ]
            return largest(np.array(scored.means) - np.array(means))
        computed = np.load(self.output(number, name))
        if text := str(computed["error"]):
            return f"{name} fails: {text[-500:]}"
        ours, theirs = computed["row0"], reference["row0"]
        if ours.shape != theirs.shape:
            return f"logits have the shape {ours.shape}, and transformers' {theirs.shape}"
        return largest(ours - theirs)

    def model(self, number: int) -> Path:
        return self.folder / "models" / str(number)

    def output(self, number: int, runtime: str) -> Path:
        return self.folder / f"{number}-{runtime}.npz"


def largest(differences: Any) -> float | str:
    """The largest absolute value."""
    found = float(np.abs(differences).max())
    return found if np.isfinite(found) else "it computes NaN or infinity"


def some_text() -> str:
    """Words for llama.cpp to score: between 1,024 and 2,000 tokens of any tokenizer here."""
    drawn = random.Random(1)
    words = "the way of all things is to be made by one who knows what to do with it".split()
    return " ".join(drawn.choice(words) for _ in range(700))


def forget(project: Project) -> None:
    """Remove what takes room."""
    for name in ("models", "dist", "store"):
        shutil.rmtree(project.folder / name, ignore_errors=True)
