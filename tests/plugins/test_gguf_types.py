"""The tables of ggml types are those of gguf-py."""

from __future__ import annotations

import gguf
import pytest
from phibuild_gguf.format.file_types import NUMBERS
from phibuild_gguf.format.types import BY_NUMBER, TARGETS

from tests.tools.ggml_tables import committed, pinned_constants, tables


@pytest.mark.toolchain
def test_the_tables_are_generated_from_the_pinned_gguf_py() -> None:
    for path, table in tables(pinned_constants()).items():
        assert committed(path) == table, "run python -m tests.tools.ggml_tables"


def test_types_have_the_numbers_and_sizes_of_the_published_gguf_py() -> None:
    for kind, sizes in gguf.GGML_QUANT_SIZES.items():
        known = BY_NUMBER[kind.value]
        assert known.name.upper() == kind.name
        if known.name in TARGETS:
            assert (known.block_size, known.block_bytes) == sizes
    published = {
        kind.name.removeprefix("MOSTLY_").removeprefix("ALL_"): kind.value
        for kind in gguf.LlamaFileType
    }
    assert published.items() >= {
        (name, number) for name, number in NUMBERS.items() if name in published
    }
