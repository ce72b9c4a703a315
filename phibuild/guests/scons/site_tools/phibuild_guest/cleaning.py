"""`scons -c`: what may be removed of an artifact. phibuild.engine.placing.cleaning says it where
phibuild can be imported; here is the same for any Python."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .states import MANIFEST, read_json

_FORMAT = "phibuild-manifest/1"
_THE_FILE = "."


def named_files(path: Path) -> list[str]:
    """The paths in an artifact that its manifest names; none if the manifest belongs to another
    artifact, or a path leaves the artifact."""
    document = read_json(Path(f"{path}{MANIFEST}"))
    if document.get("manifest") != _FORMAT or document.get("artifact") != path.name:
        return []
    try:
        names = [str(file["path"]) for file in document["files"]]
    except (KeyError, TypeError):
        return []
    return names if all(_stays_inside(name) for name in names) else []


def built_files(path: Path) -> list[Path]:
    """The files that cleaning removes: those which the manifest names, then the manifest."""
    names = named_files(path)
    manifest = Path(f"{path}{MANIFEST}")
    if not names or path.is_symlink() or manifest.is_symlink():
        return []
    files = [path if name == _THE_FILE else path / name for name in names]
    return [*(file for file in files if is_reached(file, path)), manifest]


def finish_artifact(path: Path, names: Sequence[str]) -> None:
    """Once the manifest is gone, remove the folders that became empty, and say if files stay."""
    if names and not os.path.lexists(f"{path}{MANIFEST}"):
        remove_empty_folders(path, names)
        if path.is_dir():
            print(f"Kept {path}: phibuild did not build all that is in it")


def remove_empty_folders(path: Path, names: Sequence[str]) -> None:
    """Remove the folder and those in it that files of these names would lie in, where empty."""
    if path.is_symlink():
        return
    inside = {path / folder for name in names for folder in PurePosixPath(name).parents}
    for folder in sorted(inside, reverse=True):
        if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
            folder.rmdir()


def _stays_inside(name: str) -> bool:
    pure = PurePosixPath(name)
    return name == _THE_FILE or bool(
        pure.parts and not pure.is_absolute() and ".." not in pure.parts
    )


def is_reached(file: Path, top: Path) -> bool:
    """Whether it is an ordinary file, and no link below `top` leads to it."""
    folder = file.parent
    while top in folder.parents:
        if folder.is_symlink():
            return False
        folder = folder.parent
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False
