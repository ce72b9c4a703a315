"""Generates text with an MLX model through its own chat template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import phiworker


def main(job: phiworker.Job) -> None:
    job.progress(None, "load")
    limit = job.recipe["max_tokens"]
    tokens: list[int] = []
    try:
        model, tokenizer = load(job.inputs["artifact"])
        for token in answer(model, tokenizer, job.recipe["prompt"], limit):
            tokens.append(token)
            job.progress(len(tokens) / limit, f"token {len(tokens)} of at most {limit}")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise phiworker.WorkerError(
            f"MLX cannot run the artifact: {' '.join(str(error).split())[:300]}",
            hint="build it again, or try another precision",
            code="PHI802",
        ) from error
    job.output.write_text(tokenizer.decode(tokens, skip_special_tokens=True), "utf-8")


def load(artifact: Path) -> tuple[Any, Any]:
    """The model, ready to run on this machine, and its tokenizer."""
    config = json.loads((artifact / "config.json").read_text("utf-8"))
    if "model_file" in config:
        raise ValueError("its config.json has model_file, which names Python code to run")
    import mlx.core as mx
    import mlx_lm

    model, tokenizer = mlx_lm.load(str(artifact), tokenizer_config={"trust_remote_code": False})
    if mx.default_device() == mx.Device(mx.cpu) and needs_width(config):
        widen(model, mx)
    return model, tokenizer


def needs_width(config: dict[str, Any]) -> bool:
    """Whether MLX's kernels for a CPU should get 32 bits where those for a GPU use 16.

    Kernels for quantized matrices add up in the type of the scales: slow and coarse in 16 bits. The
    kernel that gathers the experts of a mixture supports no other type.
    """
    return "quantization" in config or config["model_type"] == "phimoe"


def widen(model: Any, mx: Any) -> None:
    """Widen every float, and so the computation, to 32 bits. Packed weights stay the same."""
    from mlx.utils import tree_map

    def wide(array: Any) -> Any:
        return array.astype(mx.float32) if mx.issubdtype(array.dtype, mx.floating) else array

    model.update(tree_map(wide, model.parameters()))


def answer(model: Any, tokenizer: Any, prompt: str, limit: int) -> Iterator[int]:
    """The likeliest tokens after the prompt, up to the one that ends the turn."""
    import mlx.core as mx
    from mlx_lm import stream_generate

    for step in stream_generate(model, tokenizer, prompt_tokens(tokenizer, prompt), limit):
        if mx.isnan(step.logprobs).any().item():
            raise ValueError("it computes values that are not numbers (NaN)")
        if step.finish_reason != "stop":
            yield step.token


def prompt_tokens(tokenizer: Any, prompt: str) -> list[int]:
    """The prompt as the user's turn, or unchanged for a model without a template."""
    if not tokenizer.has_chat_template:
        return list(tokenizer.encode(prompt))
    turn = [{"role": "user", "content": prompt}]
    return list(tokenizer.apply_chat_template(turn, add_generation_prompt=True))


if __name__ == "__main__":
    phiworker.run(main)
