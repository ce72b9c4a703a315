"""Finds the files of a checkpoint in a folder: the weights, as transformers chooses them, and the
small files from which a slice is read.

transformers 5 loads `model.safetensors`, else the files in `model.safetensors.index.json`, and no
other weights (`_get_resolved_checkpoint_files` of modeling_utils.py); `transformers_weights` in
config.json names another file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from phibuild.model.errors import SourceError
from phibuild.source.reading import check_content, read_content, read_object, unreadable

TOKENIZER_JSON = ("tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
TOKENIZER_BYTES = ("tokenizer.model", "merges.txt", "vocab.txt")
CONFIG = "config.json"
GENERATION = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
TEMPLATES = "additional_chat_templates"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_SMALL = (CONFIG, GENERATION, TOKENIZER_CONFIG, TEMPLATE, *TOKENIZER_JSON, *TOKENIZER_BYTES)
_NUMBERED = r"(.*)-(\d{5})-of-(\d{5})\.safetensors"
_NEVER_WEIGHTS = r"(adapter_model|consolidated).*\.safetensors"
_PICKLED = (".bin", ".pt", ".pth")
_SUSPICIOUS = 1024  # bytes; a smaller file may be a pointer to one that was not downloaded


class CheckpointFiles(NamedTuple):
    """The files of a checkpoint. `documents` are the small ones. `shard_of` is the index: the name
    of the shard by tensor, empty without one. `names` are all names in the folder itself."""

    folder: Path
    shards: tuple[Path, ...]
    documents: tuple[Path, ...]
    shard_of: Mapping[str, str]
    names: Collection[str]

    @property
    def templates(self) -> tuple[Path, ...]:
        """The files of additional_chat_templates, by name."""
        return tuple(path for path in self.documents if path.parent.name == TEMPLATES)

    def has(self, name: str) -> bool:
        """Whether a small file is there."""
        return name in self.names


def find_files(folder: Path) -> CheckpointFiles:
    """The files by their purpose; SourceError PHI101 to PHI105, PHI113 and PHI114 for a folder
    that is not a whole checkpoint, or whose files were not downloaded or lie elsewhere."""
    if not os.path.isdir(folder):  # noqa: PTH112 - false for a path that is too long, too
        from phibuild.source.folders import explain_path

        raise explain_path(folder)
    names = _names(folder)
    if CONFIG not in names:
        from phibuild.source.folders import explain_folder

        raise explain_folder(folder, names)
    documents = [folder / name for name in _SMALL if name in names]
    if TEMPLATES in names and (folder / TEMPLATES).is_dir():
        templates = (name for name in _names(folder / TEMPLATES) if name.endswith(".jinja"))
        documents += [folder / TEMPLATES / name for name in sorted(templates)]
    for path in documents:
        _check(path, folder)
    if not {"tokenizer.json", "tokenizer.model"} & names:
        raise SourceError(
            f"{folder} has no tokenizer: neither tokenizer.json nor tokenizer.model",
            hint="download the tokenizer's files too; or let transformers write tokenizer.json:"
            " AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        )
    shards, index = _weights(folder, names)
    if index:
        documents.append(folder / INDEX)
    for shard in shards:
        _check(shard, folder)
    return CheckpointFiles(folder, shards, tuple(documents), index, names)


def check_index(files: CheckpointFiles, tensors: Mapping[Path, Collection[str]]) -> None:
    """Compare the index with the tensors of each shard: SourceError PHI102 if it names one that is
    not there."""
    held = {shard.name: set(names) for shard, names in tensors.items()}
    wrong = [name for name, shard in files.shard_of.items() if name not in held[shard]]
    if wrong:
        name = wrong[0]
        places = [shard for shard, names in held.items() if name in names]
        where = f"it lies in {places[0]}" if places else "no shard has it"
        more = f", and {len(wrong) - 1} more like it" if len(wrong) > 1 else ""
        raise SourceError(
            f"{files.folder / INDEX} says that tensor {name!r} lies in {files.shard_of[name]}, but"
            f" {where}{more}",
            hint="index and shards come from different downloads or saves: get all from one",
            code="PHI102",
        )


def _weights(folder: Path, names: Collection[str]) -> tuple[tuple[Path, ...], Mapping[str, str]]:
    """The shards, and the index if they come from one."""
    index: Mapping[str, str] = {}
    explicit = None
    if b"transformers_weights" in read_content(folder / CONFIG):
        explicit = read_object(folder / CONFIG).get("transformers_weights")
    if explicit is not None and explicit not in (WEIGHTS, INDEX):
        _refuse_outside(folder / CONFIG, [explicit])
        shards = [str(explicit)]
    elif WEIGHTS in names and explicit != INDEX:
        shards = [WEIGHTS]
    elif INDEX in names:
        _check(folder / INDEX, folder)
        index = _index(folder / INDEX)
        shards = sorted(set(index.values()))
    else:
        shards = _without_index(folder, names)
    missing = [name for name in shards if name not in names]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        partial = any(name.endswith(".incomplete") for name in names)
        raise SourceError(
            f"{folder} lacks {len(missing)} of {len(shards)} shards: {shown}",
            hint="fetch the missing files; "
            + ("a download is not complete yet" if partial else "a download may have been cut off"),
        )
    return tuple(folder / name for name in shards), index


def _index(path: Path) -> Mapping[str, str]:
    places = read_object(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise SourceError(
            f"{path} is not an index of shards: it has no weight_map",
            hint="fetch the file again",
            code="PHI102",
        )
    _refuse_outside(path, set(map(str, places.values())))
    return places


def _refuse_outside(document: Path, names: Collection[object]) -> None:
    for name in names:
        if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
            raise SourceError(
                f"{document} names {name!r}, which is not a file beside it",
                hint="fetch the file again, or write the names of files in its folder there",
                code="PHI105",
            )
        if not name.endswith(".safetensors"):
            raise SourceError(
                f"{document} names {name!r}, which is not a safetensors file",
                hint="use the safetensors files of the same checkpoint",
                code="PHI104" if name.endswith(_PICKLED) else "PHI102",
            )


def _without_index(folder: Path, names: Collection[str]) -> list[str]:
    """A complete numbered set, or one file, with no other beside it."""
    stored = sorted(name for name in names if name.endswith(".safetensors"))
    weights = [name for name in stored if not re.fullmatch(_NEVER_WEIGHTS, name)]
    numbered = re.fullmatch(_NUMBERED, stored[0]) if stored else None
    if numbered:
        count = int(numbered[3])
        whole = [
            f"{numbered[1]}-{number:05}-of-{numbered[3]}.safetensors"
            for number in range(1, count + 1)
        ]
        if set(stored) <= set(whole):
            return whole
    if len(stored) == 1 and weights:
        return stored
    if "adapter_config.json" in names and not weights:
        from phibuild.source.folders import explain_adapter

        raise explain_adapter(folder)
    if stored:
        raise SourceError(
            f"{folder} has no {WEIGHTS} and no {INDEX}, and which of its safetensors files are the"
            f" weights is not clear: {', '.join(stored[:4])}{', ...' if len(stored) > 4 else ''}",
            hint=f"keep the files of one model: a single {WEIGHTS}, or shards with their index",
            code="PHI114",
        )
    pickled = sorted(name for name in names if name.endswith(_PICKLED))
    if pickled:
        raise SourceError(
            f"{folder} has pickled weights only ({pickled[0]}), which phibuild never loads",
            hint="use the safetensors files of the same checkpoint, or convert it by transformers'"
            " save_pretrained on a machine where you trust the file",
            code="PHI104",
        )
    raise SourceError(
        f"{folder} has no weights: no .safetensors file",
        hint="name the folder of a complete checkpoint",
    )


def _check(path: Path, folder: Path) -> None:
    """Refuse a file without its content, and a link that leads out of the checkpoint."""
    try:
        status = os.stat(path)  # noqa: PTH116 - each null build comes here
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode) or status.st_size < _SUSPICIOUS:
        check_content(path)
    _refuse_escape(path, folder)


def _refuse_escape(path: Path, folder: Path) -> None:
    """Links may stay in the folder, or lead to `blobs` of the hub cache that the folder is in."""
    if path.parent == folder and not path.is_symlink():
        return
    real = path.resolve()
    home = folder.resolve()
    if not real.is_relative_to(home) and not real.is_relative_to(home.parent.parent / "blobs"):
        raise SourceError(
            f"{path} is a link that leads out of the checkpoint, to {real}",
            hint="copy the file into the folder, or name the folder that holds it",
            code="PHI105",
        )


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except OSError as error:
        raise unreadable(folder, error) from None
