"""Checkpoints with problematic files: shards, indexes, and tokens beyond the embedding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phibuild.testing.checkpoints import write_checkpoint
from tests.backends.checkpoint_files import (
    SINGLE,
    change_json,
    read_tensors,
    write_file,
)
from tests.backends.faults.fault import ALL, BASES, NONE, Edit, Fault, unchanged

INDEX = f"{SINGLE}.index.json"
TWO = {"shards": 2}


def newer_beside(folder: Path) -> None:
    """A model.safetensors of other weights beside older shards and their index."""
    new = write_checkpoint(folder / "new", BASES["phi-3"], layers=2, seed=11)
    (new / SINGLE).rename(folder / SINGLE)
    for path in new.iterdir():
        path.unlink()
    new.rmdir()


def stale_index(folder: Path) -> None:
    """Sharded first, then saved in one file: transformers removes the shards, not the index."""
    tensors = read_tensors(folder)
    for path in shards(folder):
        path.unlink()
    write_file(folder / SINGLE, tensors)


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


def lost_shard(folder: Path) -> None:
    shards(folder)[-1].unlink()


def lost_shard_and_index(folder: Path) -> None:
    lost_shard(folder)
    (folder / INDEX).unlink()


def truncated(folder: Path) -> None:
    """An incomplete download."""
    path = folder / SINGLE
    path.write_bytes(path.read_bytes()[:-1000])


def not_in_index(folder: Path) -> None:
    """An index that does not name all tensors of the shards."""
    index = json.loads((folder / INDEX).read_bytes())
    del index["weight_map"]["model.norm.weight"]
    (folder / INDEX).write_text(json.dumps(index))


def twice(folder: Path) -> None:
    """One tensor in two shards, with other values in the second, which the index does not name."""
    first, second = shards(folder)
    tensors = read_tensors(folder)
    norms = [tensors[name] for name in tensors if name.endswith("norm.weight")]
    inside = second if "model.norm.weight" in second.read_bytes().decode("latin1") else first
    outside = first if inside is second else second
    beside = folder / "apart"
    beside.mkdir()
    outside.rename(beside / outside.name)
    write_file(outside, read_tensors(beside) | {"model.norm.weight": norms[0]})
    (beside / outside.name).unlink()
    beside.rmdir()


def token(number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": f"<|tok_{number}|>", "special": True, **flags}


def token_in_tokenizer(folder: Path) -> None:
    """A token that was added without resizing the embedding."""
    path = folder / "tokenizer.json"
    document = json.loads(path.read_bytes())
    document["added_tokens"].append(token(1060))
    path.write_text(json.dumps(document))


def last_row_used(folder: Path) -> None:
    """A token more, whose row is the embedding's last."""
    path = folder / "tokenizer.json"
    document = json.loads(path.read_bytes())
    document["added_tokens"].append(token(1055))
    path.write_text(json.dumps(document))


def token_in_settings(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    known = json.loads(path.read_bytes())["added_tokens_decoder"]
    added = {name: value for name, value in token(1060).items() if name != "id"}
    change_json(path, added_tokens_decoder=known | {"1060": added})


def token_in_added(folder: Path) -> None:
    change_json(folder / "added_tokens.json", **{"<|tok|>": 1060})


def ids(name: str, **fields: Any) -> Edit:
    return lambda folder: change_json(folder / name, **fields)


SHARDS = [
    Fault("model.safetensors beside older shards", "phi-3", newer_beside, ALL, TWO),
    Fault("index without shards", "phi-3", stale_index, ALL, TWO),
    Fault("shards without index", "phi-3", lambda folder: (folder / INDEX).unlink(), ALL, TWO,
          reference=unchanged),
    Fault("shard lost", "phi-3", lost_shard, NONE, TWO),
    Fault("shard and index lost", "phi-3", lost_shard_and_index, NONE, TWO),
    Fault("file cut short", "phi-3", truncated),
    Fault("tensor that the index does not name", "phi-3", not_in_index, ALL, TWO),
    Fault("tensor in two shards", "phi-3", twice, NONE, TWO),
]  # fmt: skip

TOKENS = [
    Fault("token beyond in tokenizer.json", "phi-3", token_in_tokenizer),
    Fault("token beyond in tokenizer.json of phi-4-mini", "tied", token_in_tokenizer),
    Fault("token beyond in tokenizer.json of phi", "phi-2", token_in_tokenizer),
    Fault("token beyond in tokenizer_config.json", "phi-3", token_in_settings),
    Fault("token beyond in added_tokens.json", "phi-3", token_in_added),
    Fault("token in the last row", "tied", last_row_used, ALL),
    Fault("eos beyond in config.json", "phi-3", ids("config.json", eos_token_id=32000)),
    Fault("pad beyond in config.json", "phi-3", ids("config.json", pad_token_id=1056)),
    Fault("eos beyond in generation_config.json", "phi-3",
          ids("generation_config.json", eos_token_id=[0, 32007])),
]  # fmt: skip

FILES = [*SHARDS, *TOKENS]
