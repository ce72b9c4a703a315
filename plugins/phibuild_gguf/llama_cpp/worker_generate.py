"""Generates an answer with llama.cpp and a model's chat template; runs under phibuild's Python."""

from __future__ import annotations

import phiworker

from phibuild_gguf.llama_cpp.programs import ProgramFailure, run_program

# What llama-completion prints after the text.
_END, _STOPPED = "\n\n", " [end of text]\n"
_ROOM_FOR_TEMPLATE = 1024


def main(job: phiworker.Job) -> None:
    prompt, limit = job.recipe["prompt"].encode(), job.recipe["max_tokens"]
    (job.scratch / "prompt.txt").write_bytes(prompt)
    # A token is at least a byte. The model's own context size may need too much memory.
    context = len(prompt) + limit + _ROOM_FOR_TEMPLATE
    artifact = job.inputs["artifact"]
    model = min(artifact.glob("*.gguf")) if artifact.is_dir() else artifact  # the first split
    options = ["-m", str(model), "--binary-file", "prompt.txt", "--no-escape"]
    options += ["-n", str(limit), "-c", str(context), "-t", str(job.threads), "--jinja"]
    # The artifact may have its own sampling defaults.
    options += ["--samplers", "temperature", "--temp", "0", "--mirostat", "0"]
    options += ["--single-turn", "--no-display-prompt", "--no-warmup", "--simple-io"]
    job.progress(None, "loading and generating")
    answer = job.scratch / "answer"
    try:
        with answer.open("wb") as stdout:
            run_program(job, "llama-completion", options, stdout=stdout)
    except ProgramFailure as failure:
        raise phiworker.WorkerError(
            f"the artifact does not run in llama.cpp: {failure.message}",
            hint=failure.hint,
            code="PHI802",
        ) from None
    # The last character may be cut off, and a bad model does not write UTF-8.
    text = answer.read_bytes().decode("utf-8", errors="replace")
    job.output.write_text(text.removesuffix(_END).removesuffix(_STOPPED), "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
