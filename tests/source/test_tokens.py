"""Every token has a row in the embedding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phibuild.model.errors import SourceError
from phibuild.source import read_checkpoint
from phibuild.source.tokens import _pieces
from phibuild.store import Index
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint

ROWS = 1056
LAST = "<|last|>"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text()) if path.exists() else {}
    change(document)
    path.write_text(json.dumps(document))


def token_of(number: int) -> dict[str, Any]:
    return {"id": number, "content": LAST, "special": True}


def in_tokenizer(folder: Path, number: int) -> None:
    edit(folder / "tokenizer.json", lambda d: d["added_tokens"].append(token_of(number)))


def in_vocabulary(folder: Path, number: int) -> None:
    edit(folder / "tokenizer.json", lambda d: d["model"]["vocab"].update({LAST: number}))


def in_added_tokens(folder: Path, number: int) -> None:
    edit(folder / "added_tokens.json", lambda d: d.update({LAST: number}))


def in_settings(folder: Path, number: int) -> None:
    def change(document: dict[str, Any]) -> None:
        document.setdefault("added_tokens_decoder", {})[str(number)] = token_of(number)

    edit(folder / "tokenizer_config.json", change)


def in_vocab_json(folder: Path, number: int) -> None:
    edit(folder / "vocab.json", lambda d: d.update({LAST: number}))


def as_eos(folder: Path, number: int) -> None:
    edit(folder / "config.json", lambda d: d.update(eos_token_id=[1, number]))


def as_pad(folder: Path, number: int) -> None:
    edit(folder / "generation_config.json", lambda d: d.update(pad_token_id=number))


@pytest.mark.parametrize(
    "place",
    [in_tokenizer, in_vocabulary, in_added_tokens, in_settings, in_vocab_json, as_eos, as_pad],
)
def test_a_token_beyond_the_rows_is_refused(
    tmp_path: Path, place: Callable[[Path, int], None]
) -> None:
    folder = write_checkpoint(tmp_path / "m", FAMILIES["phi-3"], layers=1)
    index = Index(tmp_path / "index.sqlite")
    place(folder, ROWS - 1)
    read_checkpoint(folder, index)
    place(folder, ROWS)
    for _ in range(2):  # the second time it is remembered
        with pytest.raises(SourceError) as caught:
            read_checkpoint(folder, index)
        assert caught.value.code == "PHI109"
        assert str(ROWS) in caught.value.message
        assert LAST in caught.value.message or "token_id" in caught.value.message


def test_a_sentencepiece_model_with_more_pieces_than_rows_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", FAMILIES["phi-3"], layers=1)
    model = (folder / "tokenizer.model").read_bytes()
    count = _pieces(model)
    assert 0 < count <= ROWS
    piece = b"\x0a\x03\x0a\x01x"
    (folder / "tokenizer.model").write_bytes(piece * (ROWS + 1 - count) + model)
    with pytest.raises(SourceError, match=r"tokenizer\.model") as caught:
        read_checkpoint(folder, Index(tmp_path / "index.sqlite"))
    assert caught.value.code == "PHI109"


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x0a\x7f", b"\x0a\xff\xff\xff\xff\x7f", b"{}"])
def test_bytes_that_are_not_a_sentencepiece_model_have_no_pieces(data: bytes) -> None:
    assert _pieces(data) == 0
