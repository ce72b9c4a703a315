"""The table of checkpoints and formats: the outcome of each cell, from one build and one run of
each runtime for all cells."""

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

from phibuild.engine.building.realize import realize_tool
from phibuild.engine.workshop import Workshop
from tests.backends.faults import FORMATS, Fault
from tests.backends.llama_scores import Scores, ScoringError, mean_of_logits, scores
from tests.backends.slices import OFFLINE
from tests.conftest import Project, Ran

PROGRAM = Path(__file__).with_name("logits_program.py")
IDS = [5, 300, 301, 302, 303, 304, 305, 306, 307, 308]
TOLERANCE = {"gguf": 2e-6, "onnx": 2e-5, "openvino": 2e-5, "mlx": 2e-5}
"""The largest difference to transformers' float32 logits, in their standard deviations where these
are more than 1; of GGUF to the mean log-probabilities that the logits give."""
TABLED_GELU = 1e-4
"""The same for phi in llama.cpp, whose gelu comes from a table of fp16 numbers."""

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
    """A fault in a format. `outcome` is right, refused, wrong, or limited: right except for a limit
    of the runtime (Fault.limit). `why` is the evidence."""

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
    runs = Runs(project.folder, faults)
    built = {
        (number, name): path
        for number in range(len(faults))
        for name in FORMATS
        if (path := artifact(project, number, name)).exists()
    }
    runs.run(built)
    return [
        cell(fault, name, refusals.get((number, name)), runs.difference(number, name), ran, number)
        for number, fault in enumerate(faults)
        for name in FORMATS
    ]


def cell(
    fault: Fault, name: str, refusal: str | None, difference: float | str, ran: Ran, number: int
) -> Cell:
    if refusal is not None:
        sound = re.search(r"PHI\d{3}", refusal) and "hint: " in refusal
        return Cell(fault.name, name, "refused" if sound else "wrong", refusal)
    if isinstance(difference, str):
        why = difference or late_error(ran, f"dist/{number}-{name}")
        return Cell(fault.name, name, "wrong", why)
    tolerance = TABLED_GELU if (name, fault.family) == ("gguf", "phi-2") else TOLERANCE[name]
    right = "right" if not fault.limit(name) else "limited"
    outcome = right if difference <= tolerance else "wrong"
    return Cell(fault.name, name, outcome, f"differs by {difference:.1e}")


def late_error(ran: Ran, target: str) -> str:
    """The build's output for a target that was neither refused nor built."""
    lines = [line for line in ran.text.splitlines() if target in line and "working" not in line]
    return f"failed late: {' '.join(lines)[:600]}"


def refusals_of(project: Project) -> dict[tuple[int, str], str]:
    refusals = json.loads((project.folder / "refused.json").read_text())
    return {(number, name): text for number, name, text in refusals}


def artifact(project: Project, number: int, name: str) -> Path:
    return project.folder / "dist" / f"{number}-{name}{'.gguf' if name == 'gguf' else ''}"


class Runs:
    """Computes logits or scores with each artifact, and with transformers for its checkpoint."""

    def __init__(self, folder: Path, faults: Sequence[Fault]) -> None:
        self.folder = folder
        self.faults = faults
        self.shop = Workshop.open()
        self.scored: dict[int, Scores] = {}
        self.failed: dict[int, str] = {}
        self.built: set[tuple[int, str]] = set()

    def run(self, built: Mapping[tuple[int, str], Path]) -> None:
        self.built = set(built)
        self.score({number: path for (number, name), path in built.items() if name == "gguf"})
        self.refer()
        for name in ("onnx", "openvino", "mlx"):
            jobs = [
                {"path": str(path), "ids": [IDS], "output": str(self.output(number, name))}
                for (number, format), path in built.items()
                if format == name
            ]
            self.start(name, name, jobs)

    def score(self, paths: Mapping[int, Path]) -> None:
        """Score a text with llama.cpp."""
        text = self.folder / "text.txt"
        text.write_text(some_text())
        programs = realize_tool(self.shop, "llama.cpp") / "bin"
        for number, path in paths.items():
            config = json.loads((self.folder / "models" / str(number) / "config.json").read_bytes())
            try:
                self.scored[number] = scores(programs, path, text, config.get("bos_token_id"))
            except ScoringError as error:
                self.failed[number] = f"llama.cpp fails: {error}"

    def refer(self) -> None:
        """Compute the same with transformers, and the expected results of limited runtimes."""
        jobs = []
        for number, limit in sorted({(n, self.faults[n].limit(name)) for n, name in self.built}):
            path = self.folder / "references" / f"{number}-{limit}"
            self.faults[number].write_reference(path, limit)
            rows = [IDS, *(self.scored[number].rows if number in self.scored else [])]
            experts = limit.removeprefix("experts of ") if "experts" in limit else ""
            output = self.output(number, f"transformers-{limit}")
            jobs.append({"path": str(path), "ids": rows, "experts": experts, "output": str(output)})
        self.start("openvino", "transformers", jobs)

    def start(self, toolchain: str, runtime: str, jobs: Sequence[Mapping[str, object]]) -> None:
        path = self.folder / f"{runtime}.json"
        path.write_text(json.dumps(jobs))
        done = subprocess.run(
            [self.shop.toolchains.python_of(toolchain), PROGRAM, runtime, path],
            env=os.environ | OFFLINE,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]

    def difference(self, number: int, name: str) -> float | str:
        """The largest difference to transformers, or why there is none; empty for an artifact that
        was not built."""
        if (number, name) not in self.built:
            return ""
        limit = self.faults[number].limit(name)
        reference = np.load(self.output(number, f"transformers-{limit}"))
        for problem in ("error", "report"):
            if text := str(reference[problem]):
                return f"built, and transformers' {problem} is: {text[-500:]}"
        if name == "gguf":
            return self.difference_of_scores(number, reference)
        computed = np.load(self.output(number, name))
        if text := str(computed["error"]):
            return f"{name} fails: {text[-500:]}"
        ours, theirs = computed["row0"], reference["row0"]
        if ours.shape != theirs.shape:
            return f"logits have the shape {ours.shape}, and transformers' {theirs.shape}"
        return largest((ours - theirs) / max(1.0, float(theirs.std())))

    def difference_of_scores(self, number: int, reference: Any) -> float | str:
        if number in self.failed:
            return self.failed[number]
        rows, ours = self.scored[number]
        theirs = [
            mean_of_logits(reference[f"row{place}"], row) for place, row in enumerate(rows, start=1)
        ]
        return largest(np.array(ours) - np.array(theirs))

    def output(self, number: int, runtime: str) -> Path:
        return self.folder / f"{number}-{runtime}.npz"


def largest(differences: Any) -> float | str:
    """The largest absolute value."""
    result = float(np.abs(differences).max())
    return result if np.isfinite(result) else "it computes NaN or infinity"


def some_text() -> str:
    """A text for llama.cpp to score, with 1,024 to 2,000 tokens in every tokenizer of the tests."""
    drawn = random.Random(1)
    words = ("the", "way", "of", "all", "things", "is", "to", "be", "made", "by", "one", "who")
    return " ".join(drawn.choice(words) for _ in range(700))


def forget(place: Path) -> None:
    """Remove the large folders."""
    for name in ("models", "references", "dist", "store"):
        for path in (place / name, place / "project" / name):
            shutil.rmtree(path, ignore_errors=True)
