"""Generates text with an IR in OpenVINO GenAI on the CPU, by greedy decoding."""

from __future__ import annotations

import phiworker

from phibuild_openvino import process_setup


def main(job: phiworker.Job) -> None:
    process_setup.forbid_telemetry()
    import openvino_genai

    job.progress(None, "load")
    try:
        # The plugin would compute in bf16 if the CPU can, and answers would differ by machine.
        pipeline = openvino_genai.LLMPipeline(
            str(job.inputs["artifact"]), "CPU", INFERENCE_PRECISION_HINT="f32"
        )
        config = pipeline.get_generation_config()
        config.max_new_tokens = job.recipe["max_tokens"]
        config.do_sample = False
        config.apply_chat_template = bool(pipeline.get_tokenizer().chat_template)
        job.progress(None, "generate")
        answer = pipeline.generate([job.recipe["prompt"]], config).texts[0]
    except RuntimeError as error:
        raise phiworker.WorkerError(
            f"OpenVINO GenAI could not run the artifact: {str(error).strip().splitlines()[-1]}",
            hint="build the artifact again; the log has details",
            code="PHI802",
        ) from error
    job.output.write_text(answer, "utf-8")


if __name__ == "__main__":
    phiworker.run(main)
