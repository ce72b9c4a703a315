"""zstd frames, with or without old bytes as a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phibuild_delta.records import damaged

_LEVEL = 12


def compressed(content: bytes, old: bytes = b"") -> bytes:
    """One frame, with the size of its content in its header."""
    import zstandard

    return bytes(zstandard.ZstdCompressor(level=_LEVEL, **_dictionary(old)).compress(content))


def compressed_parts(parts: Sequence[bytes]) -> bytes:
    """One frame of unlike parts, each with blocks, and so tables of frequencies, of its own."""
    import zstandard

    # Short matches cost more than the literals that they replace: these are noise and zeros.
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, strategy=zstandard.STRATEGY_BTOPT, min_match=7
    )
    whole = sum(map(len, parts))
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=whole)
    end_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    blocks = [frame.compress(part) + frame.flush(end_block) for part in parts]
    return b"".join([*blocks, frame.flush()])


def decompressed(frame: bytes, most: int, old: bytes = b"") -> bytes:
    """The content of a frame; PackagingError PHI703 if it has more than `most` bytes."""
    import zstandard

    try:
        if not 0 <= zstandard.frame_content_size(frame) <= most:
            raise damaged("one of its frames is larger than its window")
        return bytes(zstandard.ZstdDecompressor(**_dictionary(old)).decompress(frame))
    except zstandard.ZstdError as error:
        raise damaged(str(error)) from None


def _dictionary(old: bytes) -> dict[str, Any]:
    import zstandard

    raw = zstandard.DICT_TYPE_RAWCONTENT
    return {"dict_data": zstandard.ZstdCompressionDict(old, dict_type=raw)} if old else {}
