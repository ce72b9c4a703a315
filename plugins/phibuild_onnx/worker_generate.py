"""Generates text in ONNX Runtime GenAI with the artifact's own template and tokenizer."""

from __future__ import annotations

import json

import phiworker


def main(job: phiworker.Job) -> None:
    import onnxruntime_genai as og

    folder = job.inputs["artifact"]
    try:
        model = og.Model(str(folder))
    except Exception as error:  # the runtime raises RuntimeError, and its own classes
        raise phiworker.WorkerError(
            f"the artifact does not load in ONNX Runtime GenAI: {str(error)[:300]}",
            hint="an artifact for another provider than cpu runs only where that one is available",
            code="PHI802",
        ) from error
    tokenizer = og.Tokenizer(model)
    prompt = job.recipe["prompt"]
    if (folder / "chat_template.jinja").is_file():
        messages = json.dumps([{"role": "user", "content": prompt}])
        prompt = tokenizer.apply_chat_template(messages=messages, add_generation_prompt=True)
    ids = tokenizer.encode(prompt)
    limit = job.recipe["max_tokens"]
    parameters = og.GeneratorParams(model)
    parameters.set_search_options(max_length=len(ids) + limit, do_sample=False)
    tokens: list[int] = []
    try:
        generator = og.Generator(model, parameters)
        generator.append_tokens(ids)
        while not generator.is_done() and len(tokens) < limit:
            generator.generate_next_token()
            tokens.append(int(generator.get_next_tokens()[0]))
            job.progress(len(tokens) / limit, f"token {len(tokens)} of at most {limit}")
    except Exception as error:
        raise phiworker.WorkerError(
            f"the artifact loads but does not generate: {str(error)[:300]}",
            hint="use another precision, or execution_provider='cpu'",
            code="PHI802",
        ) from error
    stops = json.loads((folder / "genai_config.json").read_text("utf-8"))["model"]["eos_token_id"]
    stops = stops if isinstance(stops, list) else [stops]
    while tokens and tokens[-1] in stops:
        tokens.pop()
    job.output.write_text(tokenizer.decode(tokens) if tokens else "", "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
