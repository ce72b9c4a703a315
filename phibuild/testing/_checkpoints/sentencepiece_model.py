"""A SentencePiece model file written by hand: its protobuf message, field by field.

The library would embed the path of its training text. Field numbers and defaults are those of
``sentencepiece_model.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum


class PieceType(IntEnum):
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    BYTE = 6


def sentencepiece_model(pieces: Sequence[str]) -> bytes:
    """The model of a byte fallback BPE vocabulary laid out as Llama's.

    Three control pieces and 256 bytes come first, then merged pieces in the order of their rank,
    then single characters.
    """
    first_joined = 3 + 256
    message = b""
    for index, piece in enumerate(pieces):
        if index == 0:
            kind = PieceType.UNKNOWN
        elif index < 3:
            kind = PieceType.CONTROL
        else:
            kind = PieceType.BYTE if index < first_joined else PieceType.NORMAL
        # Scores only rank the pieces that a merge can make: the lower the rank, the higher.
        score = -float(index - first_joined) if index >= first_joined else 0.0
        message += field(1, text(1, piece) + floating(2, score) + integer(3, kind))
    trainer = (
        integer(3, 2)  # model_type BPE
        + integer(4, len(pieces))
        + integer(35, 1)  # byte_fallback
        + integer(40, 0)  # unk_id
        + integer(41, 1)  # bos_id
        + integer(42, 2)  # eos_id
        + integer(43, -1)  # pad_id
    )
    normalizer = (
        text(1, "identity")
        + integer(3, 1)  # add_dummy_prefix
        + integer(4, 0)  # remove_extra_whitespaces
        + integer(5, 1)  # escape_whitespaces
    )
    return message + field(2, trainer) + field(3, normalizer)


def varint(value: int) -> bytes:
    """Base 128, low digits first; negative numbers as 64-bit two's complement."""
    value %= 1 << 64
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def floating(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def text(number: int, value: str) -> bytes:
    return field(number, value.encode())
