"""What a folder holds is used, or named as ignored with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from phibuild.source import read_checkpoint
from phibuild.source.summary import Summary, summarize
from phibuild.store import Index
from phibuild.testing._checkpoints.shards import WritableTensor, read_tensors, write_shards
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.source.checkpoints import a_checkpoint, edit_json, in_two_shards, write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint."""
    return a_checkpoint(tmp_path / "m", architectures=["Phi3ForCausalLM"], num_hidden_layers=2)


def summary_of(folder: Path) -> Summary:
    return summarize(read_checkpoint(folder, Index(folder.parent / "index.sqlite")))


def test_a_published_checkpoint_has_no_warnings(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", FAMILIES["phi-3.5"], layers=1, shards=2)
    summary = summary_of(folder)
    assert summary.warnings == ()
    assert summary.family.startswith("phi3 (Phi3ForCausalLM), 1 layers, hidden size 256, ")
    assert summary.family.endswith(", longrope")
    assert list(summary.dtypes) == ["BF16"]
    used = {name for part in summary.slices for name in part.files}
    ignored = {file.name for file in summary.ignored}
    assert used | ignored == {path.name for path in folder.iterdir()}
    assert used & ignored == set()
    assert {"LICENSE", "README.md"} <= ignored


def test_tensors_that_are_left_out_are_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", FAMILIES["phi-3"], layers=1)
    table = WritableTensor("model.rotary_emb.inv_freq", "F32", (4,), lambda: [bytes(16)])
    write_shards(folder, [*read_tensors(folder), table], 1)
    (warning,) = summary_of(folder).warnings
    assert "model.rotary_emb.inv_freq" in warning


def test_each_slice_names_its_files(folder: Path) -> None:
    in_two_shards(folder)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ r }}")
    assert {part.name: part.files for part in summary_of(folder).slices} == {
        "weights": (
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        ),
        "architecture": ("config.json",),
        "tokenizer": ("tokenizer_config.json", "tokenizer.json"),
        "chat_template": ("additional_chat_templates/rag.jinja",),
        "generation": ("config.json", "generation_config.json"),
    }


@pytest.mark.parametrize(
    ("name", "reason", "warns"),
    [
        ("adapter_config.json", "merge it first", True),
        ("hf_quant_config.json", "read as they are stored", True),
        ("quantize_config.json", "read as they are stored", True),
        ("model.safetensors.index.json", "overrides an index", True),
        ("model-00001-of-00002.safetensors", "does not load it", True),
        ("consolidated.safetensors", "does not load it", True),
        ("model-00003.safetensors.incomplete", "not complete", True),
        ("chat_template.json", "ignore it", True),
        ("preprocessor_config.json", "only the text model", True),
        ("mystery.json", "not a file that phibuild knows", True),
        ("pytorch_model.bin", "pickled", False),
        ("pytorch_model.bin.index.json", "pickled", False),
        ("modeling_phi3.py", "never run", False),
        ("LICENSE", "about the model", False),
        ("NOTICE.md", "about the model", False),
        ("SECURITY.md", "about the model", False),
        (".gitattributes", "another tool", False),
        ("phi.gguf", "another format", False),
    ],
)
def test_a_file_that_is_not_read_has_its_reason(
    folder: Path, name: str, reason: str, warns: bool
) -> None:
    (folder / name).write_bytes(b"x")
    summary = summary_of(folder)
    (file,) = (file for file in summary.ignored if file.name == name)
    assert reason in file.reason
    assert any(name in warning for warning in summary.warnings) == warns


@pytest.mark.parametrize("name", [".cache", "original", "__pycache__", "additional_chat_templates"])
def test_so_has_a_folder(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    (file,) = summary_of(folder).ignored
    assert file.name == f"{name}/"


def test_a_stray_file_among_the_templates_is_named(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    for name in ("rag.jinja", "rag.jinja2"):
        (folder / "additional_chat_templates" / name).write_text("x")
    (file,) = summary_of(folder).ignored
    assert file.name == "additional_chat_templates/rag.jinja2"
    assert "no chat template has the name default" in "".join(summary_of(folder).warnings)


def test_an_odd_name_does_not_break_the_lines(folder: Path) -> None:
    (folder / "a\nb").write_text("")
    (file,) = summary_of(folder).ignored
    assert file.name == r"'a\nb'"


def test_what_is_missing_or_said_twice_is_a_warning(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ other }}")
    (warning,) = summary_of(folder).warnings
    assert warning.startswith("chat_template in tokenizer_config.json is ignored")
    tokens = [{"id": 2, "content": "<|x|>"}]
    edit_json(folder / "tokenizer.json", added_tokens=tokens)
    write_json(folder / "added_tokens.json", {"<|x|>": 3, "<|y|>": 4})
    assert "'<|x|>' the id 3, tokenizer.json 2" in summary_of(folder).warnings[-1]
    for name in ("generation_config.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink()
    text = "\n".join(summary_of(folder).warnings)
    assert "generation_config.json is missing" in text
    assert "tokenizer_config.json is missing" in text
    assert "the chat template is missing" in text
