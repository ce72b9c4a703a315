"""Prints nothing and writes logits: what a checkpoint or an artifact computes, in one runtime.

Runs under the interpreter of a toolchain: `logits_program.py RUNTIME JOBS.json`. A job has a
`path`, the rows of token `ids`, for transformers the runtime whose
`experts` to imitate, and an `output`: a .npz file with the
logits of each row and, for transformers, its loading report. A job that fails leaves `error` in it.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

OWN: list[Any] = []
Row = list[int]
Results = dict[str, Any]


def of_transformers(path: Path, rows: list[Row], *, experts: str = "") -> Results:
    """In float32, whatever dtype config.json says; `report` names what did not fit."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.phimoe import modeling_phimoe

    torch.set_num_threads(1)
    if not OWN:
        OWN.extend((modeling_phimoe.sparsemixer, torch.nn.LayerNorm.forward))
    modeling_phimoe.sparsemixer = softmax_of_two if experts else OWN[0]
    torch.nn.LayerNorm.forward = root_mean_square if experts == "llama.cpp" else OWN[1]
    model, info = AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float32, output_loading_info=True, local_files_only=True
    )
    misfits = {name: sorted(map(str, keys)) for name, keys in info.items() if keys}
    with torch.inference_mode():
        logits = [model(torch.tensor([row])).logits[0].numpy() for row in rows]
    return {"logits": logits, "report": json.dumps(misfits) if misfits else ""}


def softmax_of_two(scores: Any, **options: Any) -> Any:
    """The router of runtimes that do not support Phi's."""
    best, experts = scores.topk(2, dim=-1)
    return best.softmax(dim=-1), experts


def root_mean_square(norm: Any, values: Any) -> Any:
    """What llama.cpp computes instead of PhiMoE's LayerNorms."""
    scale = (values * values).mean(-1, keepdim=True).add(norm.eps).rsqrt()
    return values * scale * norm.weight + norm.bias


def of_onnxruntime(path: Path, rows: list[Row]) -> Results:
    import onnxruntime

    session = onnxruntime.InferenceSession(path / "model.onnx", providers=["CPUExecutionProvider"])
    config = json.loads((path / "genai_config.json").read_text("utf-8"))["model"]["decoder"]

    def logits(row: Row) -> Any:
        known = {
            "input_ids": np.array([row]),
            "attention_mask": np.ones((1, len(row)), np.int64),
            "position_ids": np.arange(len(row))[None],
        }
        for port in session.get_inputs():
            if port.name not in known:
                shape = (1, config["num_key_value_heads"], 0, config["head_size"])
                kind = np.float16 if "float16" in port.type else np.float32
                known[port.name] = np.zeros(shape, kind)
        names = {port.name for port in session.get_inputs()}
        feeds = {name: value for name, value in known.items() if name in names}
        return session.run(["logits"], feeds)[0][0]

    return {"logits": [logits(row) for row in rows]}


def of_openvino(path: Path, rows: list[Row]) -> Results:
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
    model = openvino.Core().compile_model(path / "openvino_model.xml", "CPU", options)

    def logits(row: Row) -> Any:
        known = {
            "input_ids": np.array([row]),
            "attention_mask": np.ones((1, len(row)), np.int64),
            "position_ids": np.arange(len(row))[None],
            "beam_idx": np.array([0], np.int32),
        }
        request = model.create_infer_request()
        feeds = {port.any_name: known[port.any_name] for port in model.inputs}
        return request.infer(feeds)[model.outputs[0]][0].copy()

    return {"logits": [logits(row) for row in rows]}


def of_mlx(path: Path, rows: list[Row]) -> Results:
    import mlx.core as mx
    from mlx_lm.utils import load_model

    mx.set_default_device(mx.cpu)
    model, _ = load_model(path)
    return {"logits": [np.array(model(mx.array([row]))[0].astype(mx.float32)) for row in rows]}


RUNTIMES: dict[str, Callable[..., Results]] = {
    "transformers": of_transformers,
    "onnx": of_onnxruntime,
    "openvino": of_openvino,
    "mlx": of_mlx,
}


def main(runtime: str, jobs: Path) -> None:
    for job in json.loads(jobs.read_text("utf-8")):
        try:
            options = {"experts": job["experts"]} if "experts" in job else {}
            results = RUNTIMES[runtime](Path(job["path"]), job["ids"], **options)
        except Exception:
            results = {"logits": [], "error": traceback.format_exc()[-2000:]}
        arrays = {f"row{number}": row for number, row in enumerate(results["logits"])}
        texts = {name: results.get(name, "") for name in ("report", "error")}
        np.savez(job["output"], **arrays, **texts)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
