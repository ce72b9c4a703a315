"""What a recipe and an imatrix demand of the tensors of a model."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path
from typing import Any

import pytest
from phibuild_gguf.actions import plan
from phibuild_gguf.format.file_types import DEFAULT_TYPES
from phibuild_gguf.format.header import read_header
from phibuild_gguf.format.types import BY_NAME, TARGETS

import phibuild.worker
from tests.plugins.gguf_bytes import SOUND, entry, gguf, tensor, text
from tests.plugins.gguf_recipes import (
    UNKNOWN_MODEL,
    fields_of,
    recipe,
)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the workers, imported as under a toolchain's interpreter."""
    monkeypatch.syspath_prepend(str(Path(phibuild.worker.__file__).parent))
    return lambda name: importlib.import_module(f"phibuild_gguf.tensors.{name}")


def a_header(tmp_path: Path, tensors: dict[str, tuple[tuple[int, ...], str]]) -> Any:
    infos, offset = [], 0
    for name, (shape, type_name) in tensors.items():
        kind = BY_NAME[type_name.lower()]
        infos.append(tensor(name, shape, kind.number, offset))
        size = kind.size_of(shape)
        offset += size + -size % 32
    path = tmp_path / "header.gguf"
    path.write_bytes(gguf([], infos, offset))
    return read_header(path)


MODEL: dict[str, tuple[tuple[int, ...], str]] = {
    "token_embd.weight": ((256, 8), "f16"),
    "blk.0.attn_norm.weight": ((256,), "f32"),
    "blk.0.ffn_down.weight": ((576, 4), "f16"),
    "blk.1.ffn_down.weight": ((256, 4), "f16"),
    "output.weight": ((256, 8), "f16"),
}


def demanded(worker: Any, header: Any, **fields: Any) -> dict[str, str]:
    whole = fields_of(plan(recipe(quant="Q4_K_M", **fields), UNKNOWN_MODEL, {}))
    demands = worker("demands").demands(whole, header.tensors)
    return {name: kind.name for name, kind in demands.items()}


def test_the_first_pattern_that_matches_decides(worker: Any, tmp_path: Path) -> None:
    header = a_header(tmp_path, MODEL)
    overrides = {r"blk\.1\.": "f16", "ffn_down": "q8_0"}
    assert demanded(worker, header, overrides=overrides) == {
        "blk.0.ffn_down.weight": "q8_0",
        "blk.1.ffn_down.weight": "f16",
    }


def test_output_and_embedding_types_come_before_patterns(worker: Any, tmp_path: Path) -> None:
    header = a_header(tmp_path, MODEL)
    fields = {"output_tensor_type": "q6_K", "token_embedding_type": "q8_0"}
    assert demanded(worker, header, overrides={"weight": "q4_0"}, **fields) == {
        "token_embd.weight": "q8_0",
        "blk.0.ffn_down.weight": "q4_0",
        "blk.1.ffn_down.weight": "q4_0",
        "output.weight": "q6_K",
    }


def test_the_output_type_of_a_tied_model_is_that_of_its_embedding(
    worker: Any, tmp_path: Path
) -> None:
    tied = {name: spec for name, spec in MODEL.items() if name != "output.weight"}
    types = demanded(worker, a_header(tmp_path, tied), output_tensor_type="q6_K")
    assert types == {"token_embd.weight": "q6_K"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"overrides": {"ffn_dwon": "q8_0"}}, "ffn_dwon has no effect"),
        ({"overrides": {"attn_norm": "q8_0"}}, "attn_norm has no effect"),
        ({"overrides": {"ffn": "q8_0", "ffn_down": "f16"}}, "ffn_down has no effect"),
        ({"overrides": {"ffn_down": "q6_K"}}, "do not fill the 576"),
        (
            {"overrides": {"^output": "q8_0"}, "output_tensor_type": "q6_K"},
            r"overrides: \^output has no effect",
        ),
        ({"overrides": {"^output": "q8_0"}, "leave_output_tensor": True}, "no effect"),
    ],
)
def test_an_override_without_effect_or_that_falls_back_fails(
    worker: Any, tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(worker("demands").WorkerError, match=said) as caught:
        demanded(worker, a_header(tmp_path, MODEL), **fields)
    assert caught.value.code == "PHI203"


def test_a_choice_of_another_type_than_demanded_fails(worker: Any) -> None:
    module = worker("demands")
    chosen = {"w.weight": BY_NAME["q5_0"]}
    module.check_choice({"w.weight": BY_NAME["q5_0"]}, chosen)
    with pytest.raises(module.WorkerError, match=r"q5_0 for w\.weight; the recipe says q6_K"):
        module.check_choice({"w.weight": BY_NAME["q6_k"]}, chosen)


def test_an_imatrix_of_another_model_is_refused(worker: Any, tmp_path: Path) -> None:
    module = worker("demands")
    model = a_header(tmp_path, MODEL).tensors
    weights = {"include_weights": [], "exclude_weights": []}
    rows = {f"blk.{i}.ffn_down.weight.in_sum2": ((256, 1), "f32") for i in range(2)}
    module.check_imatrix(weights, model, a_header(tmp_path, rows))
    other = a_header(tmp_path, {"blk.0.ffn_down.weight.in_sum2": ((256, 1), "f32")})
    with pytest.raises(module.WorkerError, match=r"no entry for 1 tensors, such as blk\.1"):
        module.check_imatrix(weights, model, other)
    module.check_imatrix({**weights, "include_weights": ["blk.0"]}, model, other)
    with pytest.raises(module.WorkerError, match="ffn_dwon"):
        module.check_imatrix({**weights, "exclude_weights": ["ffn_dwon"]}, model, other)


def test_the_copy_of_an_imatrix_names_no_folder(worker: Any, tmp_path: Path) -> None:
    paths = struct.pack("<IQ", 8, 1) + text("/home/someone/texts/chats.txt")
    after = entry("imatrix.chunk_count", 4, struct.pack("<I", 7))
    kind = entry("general.type", 8, text("imatrix"))
    row = tensor("w.in_sum2", (8,), 0, 0)
    content = gguf([kind, entry("imatrix.datasets", 9, paths), after], [row], 0)
    (tmp_path / "old.gguf").write_bytes(content + bytes(range(32)))
    header = worker("imatrix_copy").copy_without_paths(tmp_path / "old.gguf", tmp_path / "new.gguf")
    assert header.value("imatrix.datasets").first == ("chats.txt",)
    assert header.value("imatrix.chunk_count") == 7
    copied = (tmp_path / "new.gguf").read_bytes()
    assert copied.endswith(bytes(range(32)))
    assert b"someone" not in copied


@pytest.mark.parametrize("content", [b"not a file of ggml", SOUND])
def test_a_file_that_is_not_an_imatrix_is_refused(
    worker: Any, tmp_path: Path, content: bytes
) -> None:
    module = worker("imatrix_copy")
    (tmp_path / "old.gguf").write_bytes(content)
    with pytest.raises(module.WorkerError) as caught:
        module.copy_without_paths(tmp_path / "old.gguf", tmp_path / "new.gguf")
    assert caught.value.code == "PHI203"


@pytest.mark.parametrize(
    "note",
    [
        entry("imatrix.datasets", 8, text("a text and not a list")),
        entry("imatrix.datasets", 9, struct.pack("<IQI", 4, 1, 7)),
        entry("imatrix.chunk_count", 8, text("7")),
        entry("imatrix.chunk_count", 11, struct.pack("<q", -1)),
    ],
)
def test_an_imatrix_with_damaged_metadata_is_refused(
    worker: Any, tmp_path: Path, note: bytes
) -> None:
    module = worker("imatrix_copy")
    kind = entry("general.type", 8, text("imatrix"))
    (tmp_path / "old.gguf").write_bytes(gguf([kind, note], [], 0))
    with pytest.raises(module.WorkerError, match="damaged") as caught:
        module.copy_without_paths(tmp_path / "old.gguf", tmp_path / "new.gguf")
    assert caught.value.code == "PHI203"


def test_every_type_that_tensors_can_get_is_known_by_name() -> None:
    assert {kind.lower() for kind in (*TARGETS, *DEFAULT_TYPES.values())} <= set(BY_NAME)


def test_a_type_of_very_few_bits_without_importances_fails(worker: Any) -> None:
    module = worker("demands")
    name = "blk.0.ffn_up.weight"
    for quant, kind in (("IQ2_XS", "iq2_xs"), ("Q2_K_S", "q2_k")):
        chosen = {name: BY_NAME[kind], "token_embd.weight": BY_NAME[kind]}
        module.check_needed_entries(quant, chosen, {name})
        with pytest.raises(module.WorkerError, match="needs an imatrix"):
            module.check_needed_entries(quant, chosen, set())
    module.check_needed_entries("Q2_K", {name: BY_NAME["q2_k"]}, set())
