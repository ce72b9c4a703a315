"""Whatever a field of a checkpoint's JSON files holds, it is read or refused with a hint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phibuild.model.errors import SourceError
from phibuild.source import read_checkpoint
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint

NUMBERS: list[Any] = [0, -1, 1, 3, 10**9, 2**70, 1.5, float("nan"), float("inf"), True, False]
ODD: list[Any] = [None, *NUMBERS, "", "x", "32", [], [1], [None], {}, {"a": 1}]


class NoMemory:
    """Remembers nothing, which spares the wait until a file has settled."""

    def recall(self, path: Path, kind: str) -> None: ...

    def record(self, path: Path, kind: str, value: str, *, seen: str) -> None: ...

    def signature(self, path: Path) -> str:
        return ""


FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")


def edited(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, value in document.items():
        yield {other: value for other, value in document.items() if other != name}
        yield from ({**document, name: odd} for odd in ODD)
        if isinstance(value, dict):
            for inner in list(value)[:8]:
                yield from ({**document, name: {**value, inner: odd}} for odd in ODD)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("family", ["phi-2", "phi-3.5-moe"])
def test_an_odd_value_is_read_or_refused(tmp_path: Path, family: str, name: str) -> None:
    folder = write_checkpoint(tmp_path / "m", FAMILIES[family], layers=1)
    refused = 0
    for document in edited(json.loads((folder / name).read_text())):
        (folder / name).write_text(json.dumps(document))
        try:
            read_checkpoint(folder, NoMemory())
        except SourceError as error:
            assert error.hint, error
            refused += 1
    assert refused
