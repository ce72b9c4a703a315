"""Makes an importance matrix from a text with llama-imatrix; runs under phibuild's Python."""

from __future__ import annotations

import re

import phiworker

from phibuild_gguf.llama_cpp.programs import ProgramFailure, linked_name, run_program


def main(job: phiworker.Job) -> None:
    recipe = job.recipe
    # The output records this name instead of the path of the text.
    text = linked_name(job.inputs["text"], job.scratch, "calibration.txt")
    options = ["-m", str(job.inputs["model"]), "-f", text, "-o", str(job.output)]
    options += ["-c", str(recipe["ctx_size"]), "-t", str(job.threads)]
    options += ["--chunk", str(recipe["from_chunk"])]
    if recipe["chunks"] is not None:
        options += ["--chunks", str(recipe["chunks"])]
    for field in ("process_output", "parse_special"):
        if recipe[field]:
            options.append(f"--{field.replace('_', '-')}")
    total = 0

    def on_match(match: re.Match[str]) -> None:
        nonlocal total
        if match[1] is not None:
            total = int(match[1])
            job.progress(0.0, f"chunk 1 of {total}")
        elif total:
            done = int(match[2])
            job.progress(done / total, f"chunk {done} of {total}")

    try:
        run_program(
            job,
            "llama-imatrix",
            options,
            pattern=r"computing over (\d+) chunks|\[(\d+)\]\S+,",
            on_match=on_match,
        )
    except ProgramFailure as failure:
        raise too_short(failure, recipe["ctx_size"]) or failure from None


def too_short(failure: ProgramFailure, ctx_size: int) -> phiworker.WorkerError | None:
    """The error for a text that does not fill two chunks; None for another failure."""
    if "not enough tokens left" in failure.tail:
        return phiworker.WorkerError(
            "the text ends before from_chunk",
            hint="lower from_chunk, or use a longer text",
            code="PHI203",
        )
    match = re.search(r"tokenizes to only (\d+) tokens", failure.tail)
    if match is None:
        return None
    return phiworker.WorkerError(
        f"the text has only {match[1]} tokens; chunks of {ctx_size} need {2 * ctx_size}",
        hint="use a longer text or a smaller ctx_size",
        code="PHI203",
    )


if __name__ == "__main__":
    phiworker.run(main)
