"""The fields of ggml's blocks are whole blocks."""

from __future__ import annotations

import pytest
from phibuild_gguf.format.block_fields import BLOCK_FIELDS
from phibuild_gguf.ggml_types import BY_NAME


@pytest.mark.parametrize("name", BLOCK_FIELDS)
def test_the_fields_of_a_block_have_its_bytes(name: str) -> None:
    ggml_type = BY_NAME[name.lower()]
    assert ggml_type.name == name
    assert sum(field.width for field in BLOCK_FIELDS[name]) == ggml_type.block_bytes
