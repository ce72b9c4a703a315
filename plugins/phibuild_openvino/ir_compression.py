"""Compresses the weights of an IR with NNCF, and describes that for Optimum."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Inputs = Mapping[str, Any]
"""Values for the inputs of the model, by name."""


def compressed(
    model: Any,
    recipe: Mapping[str, Any],
    samples: Callable[[Any], Sequence[Inputs]] | None = None,
) -> Any:
    """The float model (an `openvino.Model`) with its weights compressed in place.

    `samples` gives inputs for its argument, the model, if the compression needs calibration.
    """
    import nncf

    dataset = nncf.Dataset(samples(model)) if samples is not None else None
    model = nncf.compress_weights(model, dataset=dataset, **nncf_arguments(recipe))
    model.set_rt_info(nncf.__version__, ["optimum", "nncf_version"])  # as Optimum would
    return model


def nncf_arguments(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `nncf.compress_weights`, which rejects most of them in its 8-bit modes."""
    import nncf

    symmetry = "sym" if recipe["sym"] else "asym"
    mode = nncf.CompressWeightsMode(f"{recipe['precision']}_{symmetry}")
    if recipe["precision"] == "int8":
        return {"mode": mode, "ratio": 1.0}
    return {
        "mode": mode,
        "group_size": recipe["group_size"],
        "ratio": recipe["ratio"],
        "all_layers": recipe["all_layers"],
        "backup_mode": nncf.BackupMode(recipe["backup_precision"]),
        "sensitivity_metric": nncf.SensitivityMetric(recipe["sensitivity_metric"]),
        "awq": recipe["awq"],
        "scale_estimation": recipe.get("scale_estimation", False),
        "gptq": recipe.get("gptq", False),
        "lora_correction": recipe.get("lora_correction", False),
        "subset_size": recipe.get("num_samples", 128),
    }


def optimum_config(recipe: Mapping[str, Any]) -> str:
    """openvino_config.json: the compression under Optimum's names. Optimum itself would write the
    checkpoint's path into it and leave the compression out."""
    left_out = ("precision", "awq", "seq_len")
    quantization = {
        **{name: value for name, value in recipe.items() if name not in left_out},
        "bits": 4 if recipe["precision"] == "int4" else 8,
        "dtype": recipe["precision"],
        "quant_method": "awq" if recipe.get("awq") else "default",
    }
    document = {"dtype": recipe["precision"], "quantization_config": quantization}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
