"""What others wrote is read within bounds, and has one meaning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phibuild.foreign import UnsuitableFile, open_regular, read_regular, strict_json
from tests.source.hostile import THINGS

GOOD = {
    "bytes that are not text",
    "a byte order mark",
    "UTF-16",
    "a git-lfs pointer",
    "nothing",
    "5 GB of nothing",
    "a link to /proc",
}


@pytest.mark.parametrize("kind", THINGS)
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    THINGS[kind](path)
    if kind in GOOD:
        open_regular(path).close()
        return
    with pytest.raises(OSError, match=r"where a file belongs|No such file|Too many levels"):
        open_regular(path)


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"12345")
    assert read_regular(path, most=5) == b"12345"
    with pytest.raises(UnsuitableFile, match="5 bytes, more than 4"):
        read_regular(path, most=4)
    os.truncate(path, 1 << 40)
    with pytest.raises(UnsuitableFile):
        read_regular(path, most=1 << 30)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e308", 1e308),
        ("1000000000000000019884624838656", 1000000000000000019884624838656),
        ('{"a": [1, -2.5, "\\u00e9\\ud83d\\ude00"]}', {"a": [1, -2.5, "é😀"]}),
        ("[" * 64 + "]" * 64, None),
        ('"\\\\ud800"', "\\ud800"),
        ("null", None),
    ],
)
def test_good_json(text: str, value: object) -> None:
    value_read = strict_json(text)
    assert value is None or value_read == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1e309", "too large"),
        ("-1e309", "too large"),
        ("9" * 309, "too large"),
        ("9" * 400 + ".5", "too large"),
        ("NaN", "not a JSON number"),
        ("[Infinity]", "not a JSON number"),
        ('{"a": 1, "b": 2, "a": 1}', "key 'a' appears twice"),
        ('"\\ud800"', "half of a character"),
        ('{"\\uDC00": 1}', "half of a character"),
        ("[" * 66 + "]" * 66, "nested too deeply"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ("[" + "[]," * 2_000_000 + "1]", "more than 4,000,000 values"),
        ("{} {}", "Extra data"),
        ("", "Expecting value"),
    ],
)
def test_json_that_readers_disagree_about(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        strict_json(text)
