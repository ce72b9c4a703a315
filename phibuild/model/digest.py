"""A digest names bytes by sha256, as SCons, REAPI, OCI and the Hugging Face Hub do."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple

_PATTERN = re.compile(r"sha256:([0-9a-f]{64})")


class Digest(NamedTuple):
    """sha256 of some bytes, 64 lower-case hexadecimal digits."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read the form `sha256:<hex>`; ValueError for anything else."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a digest of the form sha256:<64 hexadecimal digits>")
        return cls(match[1])

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The digest of these bytes."""
        return cls(hashlib.sha256(data).hexdigest())

    @property
    def short(self) -> str:
        """The first eight digits, for people."""
        return self.hex[:8]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value for digests: sorted keys, no spaces, UTF-8."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def digest_of_value(value: Any) -> Digest:
    """The digest of a JSON value, independent of key order and white space."""
    return Digest.of(canonical_json(value))
