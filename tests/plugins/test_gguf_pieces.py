"""Copying tensors of earlier artifacts: only intact ones count, each at its offset."""

from __future__ import annotations

import hashlib
import importlib
import os
import random
from pathlib import Path
from typing import Any

import pytest

import phibuild.worker


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, which is a part of a worker."""
    monkeypatch.syspath_prepend(str(Path(phibuild.worker.__file__).parent))
    return importlib.import_module("phibuild_gguf.tensors.pieces")


def a_piece(pieces: Any, path: Path, offset: int, size: int) -> Any:
    digest = hashlib.sha256(path.read_bytes()[offset : offset + size]).hexdigest()
    return pieces.Piece(path, offset, size, digest)


def test_a_piece_with_other_bytes_or_no_file_is_not_intact(pieces: Any, tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(bytes(3 << 20))
    first, second = (a_piece(pieces, path, offset, 1 << 20) for offset in (0, 1 << 20))
    gone = pieces.Piece(tmp_path / "gone", 0, 4, "00")
    cut_off = a_piece(pieces, path, 2 << 20, 1 << 20)
    path.write_bytes(bytes(1 << 20) + b"\1" + bytes((1 << 20) + 5))
    assert pieces.intact({0: first, 1: second, 2: gone, 3: cut_off}, threads=2) == {0}


@pytest.mark.parametrize("has_copy_file_range", [True, False])
@pytest.mark.parametrize("moved_by", [0, 4096, 32, -64])
def test_pieces_are_copied_to_their_offsets(
    pieces: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moved_by: int,
    has_copy_file_range: bool,
) -> None:
    if not has_copy_file_range:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    content = random.Random(0).randbytes(40000)
    kept, output = tmp_path / "kept", tmp_path / "output"
    kept.write_bytes(content)
    # Two neighbours, one after a gap, and one that is shorter than a page.
    ranges = [(96, 10000), (10096, 9000), (20096, 16000), (39000, 1000)]
    output.write_bytes(bytes(len(content) + 4096))
    copied: list[int] = []
    pieces.copy_into(
        output,
        [(a_piece(pieces, kept, offset, size), offset + moved_by) for offset, size in ranges],
        on_copied=copied.append,
    )
    expected = bytearray(len(content) + 4096)
    for offset, size in ranges:
        expected[offset + moved_by : offset + moved_by + size] = content[offset : offset + size]
    assert output.read_bytes() == expected
    assert sum(copied) == sum(size for _, size in ranges)
