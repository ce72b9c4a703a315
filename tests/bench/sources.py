"""Large checkpoints at little cost: real headers, and holes in files."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

from phibuild.testing._checkpoints.families import tensor_specs
from phibuild.testing.checkpoints import FAMILIES, random_size, spelt_files, write_checkpoint

_BYTES = 2


def hollow_checkpoint(folder: Path, billions: float, *, mark: int, shards: int = 3) -> Path:
    """A checkpoint of Phi-3's shape with about that many F16 parameters, nearly all of them zero;
    those with different marks differ. The files have their full length but little content: just
    enough not to be refused as never written."""
    family, size = FAMILIES["phi-3"], random_size(billions)
    write_checkpoint(folder, family, layers=1)
    for old in folder.glob("model*.safetensors*"):
        old.unlink()
    spelt = spelt_files(family, size, family.dtype, chat_template="", spelling="published")
    (folder / "config.json").write_bytes(spelt["config.json"])
    specs = tuple(tensor_specs(family, size))
    for number in range(1, shards + 1):
        header: dict[str, dict[str, object]] = {}
        end = 0
        for spec in specs[number - 1 :: shards]:
            begin, end = end, end + math.prod(spec.shape) * _BYTES
            header[spec.name] = {
                "dtype": "F16",
                "shape": list(spec.shape),
                "data_offsets": [begin, end],
            }
        text = json.dumps(header).encode()
        with (folder / f"model-{number:05}-of-{shards:05}.safetensors").open("wb") as stream:
            stream.write(len(text).to_bytes(8, "little") + text + bytes([mark]) + bytes(end // 50))
            stream.truncate(8 + len(text) + end)
    return folder


def same_files(folder: Path, copy: Path) -> Path:
    """The same checkpoint in a new folder: digests are looked up by path."""
    shutil.copytree(folder, copy, copy_function=lambda old, new: Path(new).hardlink_to(old))
    return copy
