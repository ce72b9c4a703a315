"""Explains a path that is not the folder of a checkpoint, and suggests the right one."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from phibuild.model.errors import SourceError
from phibuild.source.reading import read_object, read_text

_OF_HUB = re.compile(r"[\w.-]+")
_PUBLISHED = "name the folder of a Hugging Face checkpoint: config.json beside *.safetensors"


def explain_path(path: Path) -> SourceError:
    """The error for a path that does not lead to a folder."""
    if path.suffix == ".gguf":
        return SourceError(
            f"{path} is a GGUF file, and phibuild builds from a checkpoint",
            hint="download the original model, a folder with config.json and *.safetensors, and"
            " name that folder",
        )
    if os.path.isfile(path):  # noqa: PTH113 - this and what follows: false for any path
        return SourceError(
            f"{path} is a file, and a model is a folder",
            hint=f"name its folder: {path.parent}",
        )
    if os.path.islink(path):  # noqa: PTH114
        return SourceError(
            f"{path} is a link to {path.readlink()}, which does not exist",
            hint="name the folder of the checkpoint itself",
        )
    hint = "give PhiModel the path of a folder, relative to the SConstruct"
    if os.path.isdir(path.parent):  # noqa: PTH112
        names = _folders(path.parent)
        alike = {name.lower(): name for name in names}
        import difflib  # for errors only

        close = difflib.get_close_matches(path.name.lower(), alike, n=1, cutoff=0.8)
        if close:
            hint = f"did you mean {path.parent / alike[close[0]]}?"
    elif os.path.isdir(path.parent.parent) and _OF_HUB.fullmatch(path.name):  # noqa: PTH112
        name = f"{path.parent.name}/{path.name}"
        hint += (
            f"; if {name} is a model on the Hugging Face Hub, download it first:"
            f" hf download {name} --local-dir {path}"
        )
    return SourceError(f"the checkpoint folder {path} does not exist", hint=hint)


def explain_folder(folder: Path, names: Collection[str]) -> SourceError:
    """The error for a folder without config.json."""
    if "snapshots" in names and (folder / "snapshots").is_dir():
        return _explain_cache(folder)
    cached = sorted(name for name in names if name.startswith("models--"))
    if cached:
        return SourceError(
            f"{folder} is the cache of the Hugging Face Hub, with {len(cached)} models in it",
            hint=f"name a snapshot in it, such as {_snapshot(folder / cached[0])}",
            code="PHI114",
        )
    if "adapter_config.json" in names:
        return explain_adapter(folder)
    for suffix, kind in (
        (".gguf", "GGUF files"),
        (".onnx", "an ONNX model"),
        (".xml", "an OpenVINO model"),
    ):
        if any(name.endswith(suffix) for name in names):
            return SourceError(
                f"{folder} has no config.json; it holds {kind}, and phibuild builds from a"
                " checkpoint",
                hint="download the original model, a folder with config.json and *.safetensors",
                code="PHI103",
            )
    inside = sorted(name for name in names if (folder / name / "config.json").is_file())
    if inside:
        shown = ", ".join(str(folder / name) for name in inside[:3])
        return SourceError(
            f"{folder / 'config.json'} is missing",
            hint=f"name a checkpoint inside the folder: {shown}",
            code="PHI103",
        )
    return SourceError(f"{folder / 'config.json'} is missing", hint=_PUBLISHED, code="PHI103")


def explain_adapter(folder: Path) -> SourceError:
    """The error for a folder that holds a PEFT adapter without its model."""
    try:
        base = read_object(folder / "adapter_config.json").get("base_model_name_or_path")
    except SourceError:
        base = None
    base = base if isinstance(base, str) and base else "its base model"
    return SourceError(
        f"{folder} is a PEFT adapter of {base} and not a whole model",
        hint="merge it first, with peft: PeftModel.from_pretrained(base_model, adapter)"
        ".merge_and_unload().save_pretrained(folder), save the tokenizer there too, and name"
        " that folder",
        code="PHI114",
    )


def _explain_cache(folder: Path) -> SourceError:
    return SourceError(
        f"{folder} is a model's folder in the cache of the Hugging Face Hub: the checkpoint is one"
        " of its snapshots",
        hint=f"name {_snapshot(folder)}",
        code="PHI114",
    )


def _folders(parent: Path) -> list[str]:
    try:
        with os.scandir(parent) as entries:
            return [entry.name for entry in entries if os.path.isdir(entry.path)]  # noqa: PTH112
    except OSError:
        return []


def _snapshot(folder: Path) -> Path:
    """The snapshot that `main` refers to, or the newest."""
    snapshots = folder / "snapshots"
    try:
        main = snapshots / read_text(folder / "refs" / "main").strip()
        if main.is_dir() and main != snapshots:
            return main
    except (OSError, SourceError, ValueError):
        pass
    try:
        return max(snapshots.iterdir(), key=lambda path: (path.lstat().st_mtime_ns, path.name))
    except (OSError, ValueError):
        return snapshots / "REVISION"
