"""A short run of each reader over a fixed set of inputs; `./run python -m tests.fuzz` goes on for
as long as it is given."""

from __future__ import annotations

import pytest

from tests.fuzz.mutations import mutations
from tests.fuzz.readers import READERS, scratch


@pytest.mark.parametrize("name", READERS)
def test_a_reader_reads_or_refuses_whatever_it_is_given(name: str) -> None:
    reader = READERS[name]
    with scratch() as folder:
        read = reader.make(folder)
        for content in mutations(reader.seeds(), name=name, count=400):
            try:
                read(content)
            except Exception as error:
                error.add_note(f"the input was {content[:2000]!r}")
                raise
