"""Placing a result at the user's path: only what phibuild put there is replaced.

A file is phibuild's if the manifest names it, or if the store placed it and nobody changed it
since. The manifest is written last.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from phibuild.engine.declaration import Declaration
from phibuild.engine.placing.artifacts import Artifacts
from phibuild.engine.reporter import Reporter
from phibuild.model.errors import StoreError
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.model.tree import THE_FILE, Tree
from phibuild.store import (
    Stranger,
    in_the_way,
    place_artifact,
    placed_tree,
    refuse,
    shown,
)
from phibuild.store.place import as_place_error, clear_leftovers, replace_file

_BEGINNING = re.compile(r'\{\s*"manifest"\s*:\s*"phibuild-manifest/')
_FIRST = '{\n "manifest": "phibuild-manifest/'
"""The beginning of every manifest; one that was cut off is a beginning of this."""


def check_place(artifacts: Artifacts, declaration: Declaration) -> None:
    """StoreError PHI304 if something that is not phibuild's is at the path of the artifact or its
    manifest, PHI305 if nothing can be written there. Also called before work, which may take
    hours."""
    target = declaration.target
    with place_errors(target):
        refuse(target, _in_the_way(artifacts, declaration)[1])
        _check_manifest(Path(f"{target}{SUFFIX}"))


def is_held(artifacts: Artifacts, declaration: Declaration, tree: Tree) -> bool:
    """Whether the files of this result are at the path already, whoever put them there."""
    manifest = artifacts.manifest_of(declaration.target)
    is_other = manifest is not None and manifest.tree != tree  # then the files are not read
    return not is_other and artifacts.is_placed(declaration, tree)


def place(
    artifacts: Artifacts, declaration: Declaration, manifest: Manifest, reporter: Reporter
) -> None:
    """Put the artifact of a manifest at its target, and report files that were changed or kept."""
    target, name = declaration.target, declaration.name
    path, text = Path(f"{target}{SUFFIX}"), manifest.to_text()
    with place_errors(target):
        _check_manifest(path)
        if is_held(artifacts, declaration, manifest.tree):
            # A build may have been killed after it placed everything, before it cleared up.
            kept: list[Path] = []
            clear_leftovers(target, kept.append)
            if not _holds(path, text):
                kept += replace_file(path, text, is_ours=_is_free)
            _report_kept(reporter, name, kept)
            return
        done = place_artifact(
            artifacts.store,
            manifest.tree,
            target,
            known=_in_the_way(artifacts, declaration)[0],
            keeps_others=declaration.is_compiled_in_place,
            finish=lambda room: (
                () if _holds(path, text) else room.write(path, text, is_ours=_is_free)
            ),
        )
    for changed in done.changed:
        file = name if changed == THE_FILE else f"{name}/{changed}"
        reporter.noticed(f"replaced {shown(file)}, which was changed after it was built")
    _report_kept(reporter, name, done.kept)


@contextlib.contextmanager
def place_errors(target: Path) -> Iterator[None]:
    """Turn a refusal of the file system into an error that says what to do about the target's
    path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise as_place_error(error, target) from error


def _in_the_way(
    artifacts: Artifacts, declaration: Declaration
) -> tuple[Tree | None, list[Stranger]]:
    """What phibuild is known to have put at the target, and what else is there."""
    target = declaration.target
    manifest = artifacts.manifest_of(target)
    named = manifest.tree if manifest is not None and manifest.artifact == target.name else None
    keeps_others = declaration.is_compiled_in_place
    others = in_the_way(target, named, keeps_others=keeps_others)
    if others:  # the manifest may be missing, or a killed build may not have written it
        # After `scons -c`, what other rules compiled beside the artifact may be all that is left.
        tree = placed_tree(artifacts.store, str(target), may_be_gone=keeps_others)
        if tree is not None and not in_the_way(target, tree, keeps_others=keeps_others):
            return tree, []
    return named, others


def _check_manifest(path: Path) -> None:
    if not _is_free(path):
        raise StoreError(
            f"{path} is not a manifest of phibuild",
            hint="move it away, or give the target another path",
            code="PHI304",
        )


def _is_free(path: Path) -> bool:
    """Whether a manifest may be written there: nothing exists, or a manifest, damaged or not."""
    if path.is_symlink() or not path.is_file():
        return not path.is_symlink() and not path.exists()
    with path.open("rb") as stream:
        text = stream.read(1000).decode("utf-8", errors="replace")
    return _FIRST.startswith(text) or _BEGINNING.match(text) is not None


def _holds(path: Path, text: str) -> bool:
    """Whether the manifest has this text already; then its time stays."""
    return path.is_file() and path.read_text("utf-8", errors="replace") == text


def _report_kept(reporter: Reporter, name: str, kept: Sequence[Path]) -> None:
    for path in kept:
        reporter.noticed(
            f"kept {shown(str(path))}: it was at {shown(name)}, and phibuild did not build it"
        )
