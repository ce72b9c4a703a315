"""A safetensors header is distrusted: whatever it claims beyond the file is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phibuild.model.errors import SourceError
from phibuild.source.safetensors import read_safetensors_header


def a_file(path: Path, header: Any, data: bytes = bytes(8), *, claimed: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if claimed is None else claimed
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def a_tensor(begin: int, end: int, shape: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, "b": a_tensor(4, 8, [1]), "a": a_tensor(0, 4, [])}
    spans, metadata = read_safetensors_header(a_file(tmp_path / "x", header))
    assert [(span.name, span.shape, span.size) for span in spans] == [("a", (), 4), ("b", (1,), 4)]
    assert metadata == {"format": "pt"}


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        [1, 2],
        {"a": 1},
        {"a": {"dtype": "F32"}},
        {"a": a_tensor(0, 8, [1])},
        {"a": a_tensor(0, 8, [2], dtype="F99")},
        {"a": a_tensor(0, 12, [3])},
        {"a": a_tensor(0, 4, [1])},
        {"a": a_tensor(4, 8, [1])},
        {"a": a_tensor(0, 8, [2]), "b": a_tensor(0, 8, [2])},
        {"a": a_tensor(0, 8, [-2])},
        {"a": a_tensor(8, 0, [2])},
        {"a": a_tensor(0, 8, [True, 2])},
        {"a": a_tensor(0, 8, [2.0])},
        {"__metadata__": {"format": 1}, "a": a_tensor(0, 8, [2])},
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(SourceError) as refusal:
        read_safetensors_header(a_file(tmp_path / "x", header))
    assert refusal.value.code == "PHI102"


@pytest.mark.parametrize("claimed", [1 << 20, 1 << 62])
def test_a_header_longer_than_the_file_is_refused(tmp_path: Path, claimed: int) -> None:
    with pytest.raises(SourceError, match="ends inside its header"):
        read_safetensors_header(a_file(tmp_path / "x", {}, claimed=claimed))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_do_worse_than_an_error(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(data)
        with pytest.raises(SourceError):
            read_safetensors_header(path)
