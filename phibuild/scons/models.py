"""`env.PhiModel`: a checkpoint as the source of artifacts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import SCons.Node
import SCons.Node.FS

from phibuild.engine.declaration import ModelRef
from phibuild.model.errors import RecipeError
from phibuild.model.manifest import SUFFIX
from phibuild.scons.claims import Use
from phibuild.scons.session import session
from phibuild.scons.translate import read_phase, single, substituted
from phibuild.source import Checkpoint


class Model(NamedTuple):
    """What `PhiModel` returns. `nodes` are the manifests to wait for if a target makes the model;
    `checkpoint` is None if it cannot be read before the build begins, or nothing needs it."""

    ref: ModelRef
    nodes: tuple[SCons.Node.Node, ...] = ()
    checkpoint: Checkpoint | None = None


def declare_model(env: Any, source: Any) -> Model:
    """A model from the folder of a checkpoint, or from a target that makes such a folder.

    A folder is read at once: its errors are reported before anything is built.
    """
    with read_phase():
        node = single(source, "model")
        if isinstance(node, str):
            node = env.fs.Entry(_at_home(substituted(env, node)))
        is_path = isinstance(node, SCons.Node.FS.Base)
        path = Path(node.get_abspath()) if is_path else session().folder / str(node)
        if path in session().declarations:
            return Model(ModelRef(path, is_target=True), nodes=(env.fs.File(f"{path}{SUFFIX}"),))
        if is_path and not os.path.isdir(path):  # noqa: PTH112 - false for any path
            path = Path(node.srcnode().get_abspath())
        session().claims.use(Use(path, "the source model"))
        checkpoint = None if session().only_cleans else session().shop.sources.checkpoint(path)
        return Model(ModelRef(path), checkpoint=checkpoint)


def _at_home(path: str) -> str:
    """The path with ~ expanded as in a shell: SCons reads it as the name of a folder."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path's fails for unknown users


def as_model(env: Any, value: Any) -> Model:
    """The model argument of a builder: what `PhiModel` returned, or any of its arguments."""
    if isinstance(value, Model):
        return value
    if value is None:
        raise RecipeError("a builder needs a model", hint="pass what env.PhiModel(...) returned")
    return declare_model(env, value)
