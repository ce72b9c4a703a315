"""Small files: what they mean for the slices; a wrong one is refused with file and field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phibuild.model.errors import SourceError
from phibuild.source import Checkpoint, lay_out, read_checkpoint
from phibuild.store import Index
from tests.source.checkpoints import a_checkpoint, edit_json, write_json

Read = Callable[[], Checkpoint]
TEMPLATE, TEMPLATES = "chat_template.jinja", "additional_chat_templates"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint."""
    return a_checkpoint(tmp_path / "m")


@pytest.fixture
def read(tmp_path: Path, folder: Path) -> Read:
    """Read it."""
    memory = Index(tmp_path / "index.sqlite")
    return lambda: read_checkpoint(folder, memory)


def error_of(read: Read) -> SourceError:
    with pytest.raises(SourceError) as refusal:
        read()
    assert refusal.value.hint
    return refusal.value


# Texts


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", TEMPLATE])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "UTF-16"),
        (b"\xff\xfe\xfd\xfc", "UTF-16"),
        (b'{"a": "\xe4"}', "not UTF-8"),
    ],
)
def test_text_that_is_not_utf_8_is_refused(
    folder: Path, read: Read, name: str, content: bytes, message: str
) -> None:
    (folder / name).write_bytes(content)
    error = error_of(read)
    assert (error.code, message in error.message) == ("PHI103", True)
    assert str(folder / name) in error.message


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": "phi3", "model_type": "phi"}', "key 'model_type' appears twice"),
        ('{"model_type": "phi3", "x": NaN}', "NaN is not a JSON number"),
        ('{"model_type": "phi3", "x": -Infinity}', "-Infinity is not a JSON number"),
        ('{"model_type": "phi3", "x": "\\ud800"}', "half of a character"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "a list and not a JSON object"),
        ('{"a": 1,}', "not JSON"),
        ("<html>", "not JSON"),
    ],
)
def test_json_that_readers_disagree_about_is_refused(
    folder: Path, read: Read, name: str, text: str, message: str
) -> None:
    (folder / name).write_text(text)
    error = error_of(read)
    assert (error.code, message in error.message) == ("PHI103", True)
    assert str(folder / name) in error.message


# Fields


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("config.json", "vocab_size", "32064"),
        ("config.json", "vocab_size", 32064.0),
        ("config.json", "vocab_size", True),
        ("config.json", "num_hidden_layers", -1),
        ("config.json", "rope_scaling", []),
        ("config.json", "rope_scaling", {"rope_type": []}),
        ("config.json", "rope_theta", "10000"),
        ("config.json", "architectures", "Phi3ForCausalLM"),
        ("config.json", "tie_word_embeddings", "false"),
        ("config.json", "eos_token_id", "<|end|>"),
        ("config.json", "model_type", ["phi3"]),
        ("generation_config.json", "eos_token_id", ["<|end|>"]),
        ("generation_config.json", "eos_token_id", []),
        ("generation_config.json", "temperature", "0.7"),
        ("generation_config.json", "do_sample", 1),
        ("tokenizer_config.json", "eos_token", 5),
        ("tokenizer_config.json", "eos_token", {"text": "</s>"}),
        ("tokenizer_config.json", "added_tokens_decoder", {"x": {"content": "a"}}),
        ("tokenizer_config.json", "added_tokens_decoder", {"5": "a"}),
        ("tokenizer_config.json", "extra_special_tokens", [1]),
        ("tokenizer_config.json", "chat_template", 5),
        ("tokenizer_config.json", "chat_template", [{"name": "default"}]),
        ("tokenizer.json", "model", []),
        ("tokenizer.json", "added_tokens", [{"content": "a"}]),
    ],
)
def test_a_field_of_another_type_is_named(
    folder: Path, read: Read, name: str, field: str, value: Any
) -> None:
    edit_json(folder / name, **{field: value})
    error = error_of(read)
    assert error.code == "PHI103"
    assert f"{folder / name}: {field} " in error.message


@pytest.mark.parametrize(
    ("name", "value"),
    [("added_tokens.json", {"<|x|>": "5"}), ("special_tokens_map.json", {"eos_token": 5})],
)
def test_so_are_the_fields_of_older_tokenizer_files(
    folder: Path, read: Read, name: str, value: Any
) -> None:
    write_json(folder / name, value)
    assert error_of(read).code == "PHI103"


def test_null_is_no_value(folder: Path, read: Read) -> None:
    before = read().slices
    edit_json(folder / "config.json", vocab_size=None, rope_scaling=None)
    assert read().slices == before


def test_the_file_that_the_config_names_is_not_part_of_the_architecture(
    folder: Path, read: Read
) -> None:
    before = read().slices
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    edit_json(folder / "config.json", transformers_weights="mine.safetensors")
    assert read().slices == before


# Templates


def put(folder: Path, **texts: str) -> None:
    (folder / TEMPLATES).mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / TEMPLATES / f"{name}.jinja").write_text(text)


def test_templates_in_files_go_before_those_of_the_settings(folder: Path, read: Read) -> None:
    assert read().documents.template == "{{ a }}"
    (folder / TEMPLATE).write_text("{{ b }}")
    assert read().documents.template == "{{ b }}"
    put(folder, tool_use="{{ t }}", rag="{{ r }}")
    assert read().documents.template == [
        {"name": "default", "template": "{{ b }}"},
        {"name": "rag", "template": "{{ r }}"},
        {"name": "tool_use", "template": "{{ t }}"},
    ]
    (folder / TEMPLATE).unlink()
    assert [template["name"] for template in read().documents.template or ()] == ["rag", "tool_use"]  # type: ignore[index]


def test_a_named_template_is_a_file_of_the_checkpoint(folder: Path, read: Read) -> None:
    before = read()
    put(folder, tool_use="{{ t }}")
    after = read()
    assert folder / TEMPLATES / "tool_use.jinja" in [path for path, _ in after.files]
    moved = {name for name in after.slices if after.slices[name] != before.slices[name]}
    assert moved == {"chat_template"}


def test_files_and_settings_say_the_same(folder: Path, read: Read) -> None:
    named = [{"name": name, "template": f"{{{{ {name} }}}}"} for name in ("default", "rag")]
    edit_json(folder / "tokenizer_config.json", chat_template=named)
    before = read().slices
    edit_json(folder / "tokenizer_config.json", chat_template=...)
    (folder / TEMPLATE).write_text("{{ default }}")
    put(folder, rag="{{ rag }}")
    assert read().slices == before


def test_line_ends_of_a_template_are_unix(folder: Path, read: Read) -> None:
    (folder / TEMPLATE).write_bytes(b"{{ a }}\r\n{{ b }}")
    assert read().documents.template == "{{ a }}\n{{ b }}"


@pytest.mark.parametrize("names", [("default", "default"), ("../x",), ("a/b",), ("a\nb",), ("",)])
def test_a_name_that_is_no_file_name_or_not_the_only_one_is_refused(
    folder: Path, read: Read, names: tuple[str, ...]
) -> None:
    named = [{"name": name, "template": "x"} for name in names]
    edit_json(folder / "tokenizer_config.json", chat_template=named)
    assert error_of(read).code in ("PHI103", "PHI105")


# The tokenizer


def test_a_tokenizer_without_a_class_is_read_as_it_is_in_all_formats(
    tmp_path: Path, folder: Path, read: Read
) -> None:
    lay_out(read(), ["tokenizer"], tmp_path / "view")
    shown = json.loads((tmp_path / "view" / "tokenizer_config.json").read_text())
    assert shown == {"legacy": False, "tokenizer_class": "TokenizersBackend"}
    (folder / "tokenizer_config.json").unlink()
    assert read().documents.tokenizer_config == {"tokenizer_class": "TokenizersBackend"}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"})
    assert read().documents.tokenizer_config == {"tokenizer_class": "LlamaTokenizer"}
