"""The tensors of an MLX model, and the quantization that config.json gives them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from phibuild.api import (
    Description,
    SourceError,
    Tensor,
    read_regular,
    read_safetensors_header,
    strict_json,
)

_LARGEST_CONFIG = 16 << 20


def describe(path: Path) -> Description:
    """The tensors as MLX stores them: a packed matrix has type U32, and its scales are beside it.

    SourceError PHI102 for a damaged file, PHI103 for an unreadable config.json.
    """
    tensors = tuple(
        Tensor(span.name, span.dtype, span.shape, span.size, span.offset, file.name)
        for file in sorted(path.glob("model*.safetensors"))
        for span in read_safetensors_header(file, hint="build the artifact again").spans
    )
    return Description("MLX", tensors, tuple(_metadata(_config(path), tensors)))


def _config(path: Path) -> dict[str, Any]:
    try:
        text = read_regular(path / "config.json", most=_LARGEST_CONFIG).decode("utf-8")
        config = strict_json(text)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{path} has no readable config.json: {error}",
            hint="build the artifact again",
            code="PHI103",
        ) from None
    return config if isinstance(config, dict) else {}


def _metadata(config: dict[str, Any], tensors: tuple[Tensor, ...]) -> list[tuple[str, str]]:
    fields = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size")
    shown = [(name, str(config[name])) for name in fields if name in config]
    quantization = config.get("quantization")
    if isinstance(quantization, dict):
        shown.append(("quantization", _format(quantization)))
        overrides = Counter(_format(own) for own in quantization.values() if isinstance(own, dict))
        shown += [
            (f"quantization: {text}", f"{overrides[text]} matrices") for text in sorted(overrides)
        ]
    floats = Counter(tensor.type for tensor in tensors if tensor.type in ("F16", "BF16", "F32"))
    return [*shown, *((f"tensors of {name}", str(floats[name])) for name in sorted(floats))]


def _format(quantization: dict[str, Any]) -> str:
    mode, bits, size = (quantization.get(name, "?") for name in ("mode", "bits", "group_size"))
    return f"{mode}, {bits} bits, group size {size}"
