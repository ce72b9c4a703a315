"""Reading an artifact for `phibuild show`: its header, which `phibuild.api` checks."""

from __future__ import annotations

import json
from pathlib import Path

from phibuild.api import Description, SourceError, Tensor, read_safetensors_header


def describe(path: Path) -> Description:
    """SourceError PHI102 for a file that is not such an artifact, or is damaged."""
    header = read_safetensors_header(path, hint="build it again")
    try:
        recipe = json.loads(header.metadata["int8"])
        metadata = tuple((str(name), str(value)) for name, value in recipe.items())
    except (ValueError, KeyError, AttributeError) as error:
        raise SourceError(
            f"{path} is not a file of Int8Safetensors: {error}",
            hint="build it again",
            code="PHI102",
        ) from None
    tensors = (
        Tensor(span.name, span.dtype, span.shape, span.size, span.offset) for span in header.spans
    )
    return Description("safetensors-int8", tuple(sorted(tensors)), metadata)
