"""Checkpoints of every Phi family with random weights, written in a fraction of a second.

Real enough for every backend to convert and run, and the same bytes on every machine. Needs numpy,
neither torch nor transformers.
"""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path

from phibuild.testing._checkpoints.configs import config, generation_config
from phibuild.testing._checkpoints.families import FAMILIES, Dtype, Family, Size, tensor_specs
from phibuild.testing._checkpoints.shards import WritableTensor, write_shards
from phibuild.testing._checkpoints.tokenizer_files import (
    Spelling,
    as_json,
    setting_files,
    vocabulary_files,
)
from phibuild.testing._checkpoints.tokenizers import make_tokenizer
from phibuild.testing._checkpoints.weights import SAFETENSORS_DTYPE, weight_chunks

__all__ = [
    "FAMILIES",
    "Family",
    "Spelling",
    "random_checkpoint",
    "random_size",
    "spelt_files",
    "write_checkpoint",
]

# The code in a checkpoint must not run: it fails with a message.
REMOTE_CODE = b'raise RuntimeError("code out of a checkpoint was run")\n'

README = """---
license: mit
pipeline_tag: text-generation
---
# {name}

Random weights in the shape of {name}: it writes words without sense.
"""


def write_checkpoint(
    folder: Path,
    family: Family,
    *,
    spelling: Spelling = "published",
    shards: int = 1,
    hidden: int = 256,
    layers: int = 4,
    vocab: int = 1056,
    seed: int = 0,
    dtype: Dtype | None = None,
    chat_template: str | None = None,
    scale: float = 1.0,
) -> Path:
    """Write a checkpoint into the folder, which is created if needed, and return the folder.

    Without a ``dtype`` or a ``chat_template`` it has those of its family (Phi-2 has no template;
    an empty one leaves it out). ``scale`` multiplies the standard deviation of the matrices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = Size(hidden=hidden, layers=layers, vocab=vocab)
    dtype = dtype or family.dtype
    tokenizer = make_tokenizer(family.tokenizer, vocab)
    template = tokenizer.chat_template if chat_template is None else chat_template
    tensors = [
        WritableTensor(
            spec.name,
            SAFETENSORS_DTYPE[dtype],
            spec.shape,
            partial(
                weight_chunks, spec, dtype=dtype, seed=seed, scale=scale, words=tokenizer.words
            ),
        )
        for spec in tensor_specs(family, size)
    ]
    write_shards(folder, tensors, shards)
    files = {
        **vocabulary_files(tokenizer),
        **spelt_files(family, size, dtype, chat_template=template, spelling=spelling),
        "LICENSE": b"MIT\n",
        "README.md": README.format(name=family.name).encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def spelt_files(
    family: Family, size: Size, dtype: Dtype, *, chat_template: str, spelling: Spelling
) -> dict[str, bytes]:
    """The files that differ between the spellings, by name."""
    tokenizer = make_tokenizer(family.tokenizer, size.vocab)
    fields = config(family, size, dtype, spelling)
    context = fields["max_position_embeddings"]
    modules = {name.partition(".")[0] for name in fields.get("auto_map", {}).values()}
    return {
        "config.json": as_json(fields),
        "generation_config.json": as_json(generation_config(tokenizer, spelling)),
        **setting_files(tokenizer, context=context, chat_template=chat_template, spelling=spelling),
        **{f"{module}.py": REMOTE_CODE for module in sorted(modules)},
    }


def random_checkpoint(
    folder: Path, billions: float = 1.1, *, shards: int = 3, seed: int = 0
) -> Path:
    """Write a checkpoint of Phi-3's shape with about that many parameters, for measurements.

    It has Phi-3's 32,064 rows of vocabulary, of which the tokenizer uses about a thousand. Memory
    stays bounded by a piece of one tensor.
    """
    size = random_size(billions)
    return write_checkpoint(
        folder,
        FAMILIES["phi-3"],
        hidden=size.hidden,
        layers=size.layers,
        vocab=size.vocab,
        shards=shards,
        seed=seed,
    )


def random_size(billions: float) -> Size:
    """The size of a ``random_checkpoint``: as many layers as come nearest."""
    one_layer, two_layers = (
        sum(prod(spec.shape) for spec in tensor_specs(FAMILIES["phi-3"], size))
        for size in (Size(2048, 1, 32064), Size(2048, 2, 32064))
    )
    return Size(
        2048, max(1, 1 + round((billions * 1e9 - one_layer) / (two_layers - one_layer))), 32064
    )
