"""What `phibuild show` prints of a GGUF file, from its header."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phibuild.api import Description, PhiError, Tensor, open_regular
from phibuild_gguf.format.block_fields import BLOCK_FIELDS
from phibuild_gguf.format.header import Array, BadHeader, GgufHeader, read_header

_LONGEST = 200


def describe(path: Path) -> Description:
    """The tensors and the metadata, long values cut short. PhiError PHI303 for a damaged file."""
    files = sorted(path.glob("*.gguf")) if path.is_dir() else [path]
    headers = [checked_header(file) for file in files]
    if not headers:
        raise PhiError(
            f"{path} contains no GGUF files", hint="give the folder of the splits", code="PHI303"
        )
    return Description(
        format="GGUF",
        tensors=tuple(
            Tensor(
                info.name,
                info.type.name,
                info.shape,
                info.size,
                header.data + info.offset,
                file.name if path.is_dir() else "",
                block=BLOCK_FIELDS.get(info.type.name, ()),
            )
            for file, header in zip(files, headers, strict=True)
            for info in header.tensors
        ),
        metadata=tuple((pair.key, _shown(pair.value)) for pair in headers[0].key_values),
    )


def describe_imatrix(path: Path) -> Description:
    """The same for an imatrix, which is a GGUF file too."""
    description = describe(path)
    return Description("imatrix", description.tensors, description.metadata)


def checked_header(path: Path) -> GgufHeader:
    """The header of a file; PhiError PHI303 that says what is wrong with it."""
    try:
        open_regular(path).close()
        return read_header(path)
    except (BadHeader, OSError) as error:
        raise PhiError(
            f"{path} is not a sound GGUF file: {error}",
            hint="build it again; if it is a copy that was cut short, copy it again",
            code="PHI303",
        ) from error


def _shown(value: Any) -> str:
    if isinstance(value, Array):
        kept = ", ".join(_shown(item) for item in value.first)
        return f"[{kept}{', ...' if value.length > len(value.first) else ''}] ({value.length})"
    if isinstance(value, float):
        return f"{value:.7g}"  # what a 32-bit float holds
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"
