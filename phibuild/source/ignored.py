"""The files in a checkpoint's folder that no build reads, and why.

The first pattern that a name matches gives the reason. A file whose settings have no effect is a
warning; a file that no build needs is not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from phibuild.source.checkpoint import Checkpoint
from phibuild.source.documents import CARD
from phibuild.source.files import INDEX, TEMPLATES, WEIGHTS

_NOTED = "it has no effect: the weights are read as they are stored"
_REASONS: tuple[tuple[str, str, bool], ...] = (
    (r"adapter_config\.json|adapter_model\..*", "the adapter is not applied: merge it first", True),
    (r".*\.incomplete|.*\.part|.*\.crdownload|.*\.aria2", "a download that is not complete", True),
    (r"(hf_quant|quantize|quant|quantization)_config\.json", _NOTED, True),
    (r"chat_template\.json", "a template of processors: transformers' tokenizers ignore it", True),
    (r".*\.safetensors", "transformers does not load it beside the weights", True),
    (r"pytorch_model\.bin\.index\.json", "the index of pickled weights, never loaded", False),
    (r".*\.safetensors\.index\.json", "the index of shards that are not loaded", True),
    (r".*\.(bin|pt|pth|ckpt|pkl|msgpack|h5)", "pickled weights or another framework's", False),
    (r".*\.(gguf|onnx|onnx\.data|xml|mlmodel)", "a model in another format", False),
    (r".*\.py|__pycache__", "code, which is never run", False),
    (
        r"(pre)?processor_config\.json|(image|video|feature)_.*config\.json|"
        r"processing_.*\.json|speech-lora|vision-lora",
        "only the text model is built",
        True,
    ),
    (r"sentence_bert_config\.json|modules\.json|1_Pooling", "of sentence embeddings", False),
    (r"params\.json|original|tekken\.json", "the model in its first publisher's layout", False),
    (r"(genai|openvino)_config\.json", "settings of an artifact", False),
    (r"(?i)(readme|licen[sc]e|notice|copying|security|support|code_of_conduct|cgmanifest|"
     r"citation|changelog|sample_finetune|data_summary_card).*|.*\.(md|txt|pdf|png|jpe?g|svg|gif)",
     "about the model", False),
    (r"training_args\..*|trainer_state\.json|optimizer.*|scheduler.*|rng_state.*|"
     r"all_results\.json|.*_results\.json|runs", "a record of training", False),
    (r"\..*", "a file of another tool", False),
    (r".*\.phi\.json|SConstruct|\.sconsign.*", "a file of a build", False),
)  # fmt: skip


class IgnoredFile(NamedTuple):
    """A file or folder that is not read. `warns` if it may mean something for the model."""

    name: str
    reason: str
    warns: bool


def ignored_files(checkpoint: Checkpoint) -> tuple[IgnoredFile, ...]:
    """The other files in the folder of the checkpoint, by name."""
    used = {path.relative_to(checkpoint.folder).as_posix() for path, _ in checkpoint.files}
    used |= {name.partition("/")[0] for name in used}
    others = sorted(_others(checkpoint, used))
    return tuple(_ignored(checkpoint, name, is_folder=is_folder) for name, is_folder in others)


def _others(checkpoint: Checkpoint, used: set[str]) -> Iterator[tuple[str, bool]]:
    with os.scandir(checkpoint.folder) as entries:
        others = [entry.name for entry in entries if entry.name not in used]
    yield from ((name, (checkpoint.folder / name).is_dir()) for name in others)
    if TEMPLATES in used:
        with os.scandir(checkpoint.folder / TEMPLATES) as entries:
            names = (f"{TEMPLATES}/{entry.name}" for entry in entries)
            yield from ((name, False) for name in names if name not in used)


def _ignored(checkpoint: Checkpoint, name: str, *, is_folder: bool) -> IgnoredFile:
    shown = name if name.isprintable() else repr(name)
    shown = f"{shown}/" if is_folder else shown
    if name == CARD:
        return IgnoredFile(shown, "the model's card: only the license in it is read", False)
    if name == INDEX and checkpoint.shards == (checkpoint.folder / WEIGHTS,):
        return IgnoredFile(shown, f"{WEIGHTS} overrides an index, as in transformers", True)
    for pattern, reason, warns in _REASONS:
        if re.fullmatch(pattern, name):
            return IgnoredFile(shown, reason, warns)
    return IgnoredFile(shown, "not a file that phibuild knows", True)
