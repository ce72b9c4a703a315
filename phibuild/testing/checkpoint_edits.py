"""Edits of a checkpoint, each of which changes one thing and no other byte.

Files are replaced, never written into: a hard link or an open reader keeps the old content.
"""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

from phibuild.source.safetensors import Span
from phibuild.testing._checkpoints.configs import config
from phibuild.testing._checkpoints.families import FAMILIES, Dtype, Family, Size
from phibuild.testing._checkpoints.shards import (
    BYTES_PER_VALUE,
    read_chunks,
    read_tensors,
    spans_of,
    write_shards,
)
from phibuild.testing._checkpoints.tokenizer_files import Spelling, as_json
from phibuild.testing.checkpoints import spelt_files

DTYPES: tuple[Dtype, ...] = ("bf16", "f16", "f32")
SPELLINGS: tuple[Spelling, ...] = ("published", "transformers5")
FLIPPED = bytes(byte ^ 0x80 for byte in range(256))


def reshard(folder: Path, shards: int) -> None:
    """Spread the same tensors over another number of safetensors files."""
    write_shards(folder, read_tensors(folder), shards)


def change_tensor(folder: Path, name: str) -> None:
    """Flip the sign of every value of one tensor; a second call restores the file."""
    path, span = places(folder)[name]
    content = bytearray(b"".join(read_chunks(path, span)))
    width = BYTES_PER_VALUE[span.dtype]
    content[width - 1 :: width] = content[width - 1 :: width].translate(FLIPPED)
    overwrite(path, span, content)


def exchange_tensors(folder: Path, first: str, second: str) -> None:
    """Give two tensors of one shape and type each other's values."""
    place = places(folder)
    contents = {name: b"".join(read_chunks(*place[name])) for name in (first, second)}
    overwrite(*place[first], contents[second])
    overwrite(*place[second], contents[first])


def places(folder: Path) -> dict[str, tuple[Path, Span]]:
    return {span.name: (path, span) for path, span in spans_of(folder)}


def overwrite(path: Path, span: Span, content: bytes | bytearray) -> None:
    """Replace the shard by one that holds other bytes in this place."""
    beside = path.with_name(f".{path.name}.new")
    shutil.copyfile(path, beside)
    with beside.open("r+b") as file:
        file.seek(span.offset)
        file.write(content)
    beside.replace(path)


def set_chat_template(folder: Path, text: str) -> None:
    """Change the chat template where the checkpoint keeps it."""
    path = folder / "chat_template.jinja"
    if path.exists():
        replace(path, text.encode())
        return
    path = folder / "tokenizer_config.json"
    replace(path, as_json(json.loads(path.read_bytes()) | {"chat_template": text}))


def chat_template(folder: Path) -> str:
    """The chat template, or nothing."""
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text()
    settings = json.loads((folder / "tokenizer_config.json").read_bytes())
    return str(settings.get("chat_template", ""))


def respell(folder: Path, spelling: Spelling) -> None:
    """Write the JSON files of a checkpoint of ``write_checkpoint`` in the other spelling."""
    fields = json.loads((folder / "config.json").read_bytes())
    family, size, dtype = recognised(fields)
    files = {
        each: spelt_files(family, size, dtype, chat_template=chat_template(folder), spelling=each)
        for each in SPELLINGS
    }
    for name in {name for each in SPELLINGS for name in files[each]} - files[spelling].keys():
        (folder / name).unlink(missing_ok=True)
    for name, content in files[spelling].items():
        replace(folder / name, content)


def recognised(fields: dict[str, Any]) -> tuple[Family, Size, Dtype]:
    """The family, size and dtype whose config.json this is."""
    size = Size(
        hidden=fields["hidden_size"],
        layers=fields["num_hidden_layers"],
        vocab=fields["vocab_size"],
    )
    for family, dtype, spelling in product(FAMILIES.values(), DTYPES, SPELLINGS):
        if config(family, size, dtype, spelling) == fields:
            return family, size, dtype
    raise ValueError("write_checkpoint did not write this config.json")


def replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
