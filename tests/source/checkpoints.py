"""The smallest folder that is a checkpoint, for tests of what its files mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any, **options: Any) -> None:
    path.write_text(json.dumps(value, **options))


def edit_json(path: Path, **fields: Any) -> None:
    """Set fields of a JSON object; `...` removes one."""
    document = json.loads(path.read_text()) | fields
    write_json(path, {name: value for name, value in document.items() if value is not ...})


def write_shard(path: Path, tensors: dict[str, bytes]) -> None:
    header, data = {}, b""
    for name, value in tensors.items():
        offsets = [len(data), len(data) + len(value)]
        header[name] = {"dtype": "U8", "shape": [len(value)], "data_offsets": offsets}
        data += value
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_index(folder: Path, **shards: str) -> None:
    """An index with these tensors, each in the shard of the number."""
    places = {name: f"model-0000{number}-of-00002.safetensors" for name, number in shards.items()}
    write_json(folder / "model.safetensors.index.json", {"weight_map": places})


def a_checkpoint(folder: Path, **config: Any) -> Path:
    """A checkpoint with two tensors."""
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"model_type": "other", "eos_token_id": 1, **config})
    write_json(folder / "generation_config.json", {"eos_token_id": 1})
    write_json(folder / "tokenizer_config.json", {"chat_template": "{{ a }}", "legacy": False})
    write_json(folder / "tokenizer.json", {"model": {"vocab": {"b": 0, "a": 1}}})
    write_shard(folder / "model.safetensors", {"one": b"1", "two": b"22"})
    return folder


def in_two_shards(folder: Path) -> None:
    """The same checkpoint in two shards with their index."""
    (folder / "model.safetensors").unlink()
    write_shard(folder / "model-00001-of-00002.safetensors", {"one": b"1"})
    write_shard(folder / "model-00002-of-00002.safetensors", {"two": b"22"})
    write_index(folder, one="1", two="2")
