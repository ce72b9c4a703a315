"""Checkpoints with problematic values: other dtypes, quantized, not a number, too large."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.backends.checkpoint_files import Stored, Tensors, cast, stored, values_of
from tests.backends.faults.fault import ALL, Edit, Fault, both, config, tensors, unchanged

MATRIX = "model.layers.1.mlp.down_proj.weight"
BIG = 70000.0
"""More than the 65504 that F16 holds."""


def cast_all(kind: str, only: Callable[[Stored], bool] = lambda _: True) -> Edit:
    """Tensors in another floating point type."""
    return tensors(
        lambda all: {
            name: cast(tensor, kind) if only(tensor) else tensor for name, tensor in all.items()
        }
    )


def in_integers(kind: str, *, scales: str = "") -> Edit:
    """The layers' matrices as eight-bit numbers, with scales in tensors of their own."""

    def change(all: Tensors) -> Tensors:
        result: Tensors = {}
        for name, tensor in all.items():
            if len(tensor.shape) != 2 or ".layers." not in name:
                result[name] = tensor
                continue
            values = values_of(tensor)
            scale = np.abs(values).max() / 100
            result[name] = stored(np.rint(values / scale), kind)
            if scales:
                result[name + scales] = stored(np.array([scale]), "F32")
        return result

    return tensors(change)


def packed(*words: str) -> Edit:
    """The matrices of the layers replaced by packed tensors: `words` are name and dtype."""

    def change(all: Tensors) -> Tensors:
        result: Tensors = {}
        for name, tensor in all.items():
            if len(tensor.shape) != 2 or ".layers." not in name:
                result[name] = tensor
                continue
            stem = name.removesuffix(".weight")
            for word in words:
                end, _, kind = word.partition(":")
                result[f"{stem}.{end}"] = stored(np.zeros((32, 8)), kind)
        return result

    return tensors(change)


def with_value(name: str, value: float, *, dtype: str | None = None) -> Edit:
    """One value of a tensor replaced, in the tensor's type or with all tensors in another."""

    def change(all: Tensors) -> Tensors:
        result = {key: cast(tensor, dtype or tensor.dtype) for key, tensor in all.items()}
        values = values_of(result[name])
        values.reshape(-1)[5] = value
        result[name] = stored(values, result[name].dtype)
        return result

    return tensors(change)


def is_norm(tensor: Stored) -> bool:
    return len(tensor.shape) == 1


DTYPES = [
    Fault("F32 weights", "phi-3", unchanged, ALL, {"dtype": "f32"}),
    Fault("F32 weights, config says bfloat16", "phi-3", config(torch_dtype="bfloat16"), ALL,
          {"dtype": "f32"}),
    Fault("F32 weights, config says float16", "phi-2", config(torch_dtype="float16"), ALL,
          {"dtype": "f32"}),
    Fault("BF16 weights, config says float16", "phi-3", config(torch_dtype="float16"), ALL),
    Fault("F16 weights, config says bfloat16", "phi-3", config(torch_dtype="bfloat16"), ALL,
          {"dtype": "f16"}),
    Fault("torch_dtype absent", "phi-3", config(torch_dtype=...), ALL),
    Fault("BF16 matrices, F32 norms", "phi-3", cast_all("F32", is_norm), ALL),
    Fault("BF16 and F16 in one checkpoint", "phi-3", cast_all("F16", is_norm), ALL),
    Fault("F32 matrices, BF16 norms", "phi-3", cast_all("BF16", is_norm), ALL, {"dtype": "f32"}),
    Fault("F64 weights", "phi-3", cast_all("F64")),
    Fault("FP8 weights, scales ignored", "phi-3", in_integers("F8_E4M3", scales="_scale")),
    Fault("FP8 weights without scales", "phi-3", in_integers("F8_E5M2")),
    Fault("I8 weights, scales ignored", "phi-3", in_integers("I8", scales="_scale")),
    Fault("I8 weights without scales", "phi-2", in_integers("I8")),
    Fault("U8 weights", "phi-3", in_integers("U8", scales="_scale_inv")),
    Fault("scales beside BF16 weights", "phi-3",
          tensors(lambda all: all | {"model.layers.0.mlp.down_proj.weight_scale":
                                     stored(np.ones(1), "F32")})),
    Fault("names of GPTQ", "phi-3", packed("qweight:I32", "qzeros:I32", "scales:F16", "g_idx:I32")),
    Fault("names of AWQ", "phi-3", packed("qweight:I32", "qzeros:I32", "scales:F16")),
    Fault("names of bitsandbytes", "phi-3", packed("weight:U8", "weight.absmax:F32",
                                                   "weight.quant_map:F32")),
    Fault("quantization_config", "phi-3",
          both(in_integers("I8", scales="_scale"),
               config(quantization_config={"quant_method": "compressed-tensors"}))),
    Fault("a bool tensor", "phi-3",
          tensors(lambda all: all | {"model.layers.0.self_attn.bias": stored(np.ones(4), "BOOL")})),
]  # fmt: skip

NUMBERS = [
    Fault("NaN in a matrix", "phi-3", with_value(MATRIX, np.nan)),
    Fault("NaN in an F16 matrix", "phi-3", with_value(MATRIX, np.nan, dtype="F16")),
    Fault("NaN in an F32 matrix", "phi-3", with_value(MATRIX, np.nan, dtype="F32")),
    Fault("infinity in a matrix", "phi-3", with_value(MATRIX, np.inf)),
    Fault("minus infinity in an F16 matrix", "phi-3", with_value(MATRIX, -np.inf, dtype="F16")),
    Fault("minus infinity in an F32 matrix", "phi-3", with_value(MATRIX, -np.inf, dtype="F32")),
    Fault("NaN in a norm", "phi-3", with_value("model.norm.weight", np.nan)),
    Fault("infinity in a norm", "phi-2", with_value("model.final_layernorm.weight", np.inf)),
    Fault("NaN in a bias", "phi-2", with_value("model.layers.0.mlp.fc1.bias", np.nan)),
    Fault("NaN in the embedding", "phi-3", with_value("model.embed_tokens.weight", np.nan)),
    Fault("NaN in an expert", "phi-3.5-moe",
          with_value("model.layers.1.block_sparse_moe.experts.2.w3.weight", np.nan)),
    Fault("NaN in a head's bias", "phi-3.5-moe", with_value("lm_head.bias", np.nan)),
    Fault("a value that F16 does not hold", "phi-3",
          with_value("model.embed_tokens.weight", BIG), ALL),
]  # fmt: skip

VALUES = [*DTYPES, *NUMBERS]
