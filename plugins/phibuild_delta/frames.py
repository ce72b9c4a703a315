"""zstd frames, with or without old bytes as a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from phibuild_delta.records import damaged

_LEVEL = 12


def compressed(content: bytes, old: bytes = b"") -> bytes:
    """One frame, which says how large its content is."""
    import zstandard

    return bytes(zstandard.ZstdCompressor(level=_LEVEL, **_dictionary(old)).compress(content))


def compressed_parts(parts: Sequence[bytes]) -> bytes:
    """One frame of parts that are unlike each other: none shares a block, and so a table of
    frequencies, with the next."""
    import zstandard

    # Short matches cost more than the letters that they stand for: these are noise and zeros.
    how = zstandard.ZstdCompressionParameters.from_level(
        19, strategy=zstandard.STRATEGY_BTOPT, min_match=7
    )
    whole = sum(map(len, parts))
    frame = zstandard.ZstdCompressor(compression_params=how).compressobj(size=whole)
    cut = zstandard.COMPRESSOBJ_FLUSH_BLOCK
    pieces = [frame.compress(part) + frame.flush(cut) for part in parts]
    return b"".join([*pieces, frame.flush()])


def decompressed(frame: bytes, most: int, old: bytes = b"") -> bytes:
    """What a frame holds; PackagingError PHI703 if it is more than that many bytes."""
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
