"""Results in a store for artifacts that were never made, for measurements of all but the making."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phibuild.engine.declaration import Conversion, model_facts
from phibuild.engine.keys import facts, file_digests
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Action
from phibuild.model.facts import action_key
from phibuild.model.recipe import parse_recipe
from phibuild.source import Checkpoint
from phibuild.store import ActionResult

_FILES = 8
"""As many as the folders of MLX, ONNX and OpenVINO hold."""


def seed_artifact(
    shop: Workshop, checkpoint: Checkpoint, builder: str, fields: Mapping[str, Any]
) -> None:
    """Record a small result under the key of each action that the artifact takes."""
    backend = shop.registry.backend_of_builder(builder)
    recipe = parse_recipe(backend.recipe, fields, builder=builder)
    action = Conversion(backend, recipe, {}).action(model_facts(checkpoint))
    _seed(shop, action, checkpoint, is_tree=backend.kind == "tree")


def _seed(shop: Workshop, action: Action, checkpoint: Checkpoint, *, is_tree: bool) -> ActionResult:
    inputs = {
        name: _seed(shop, one, checkpoint, is_tree=False)
        for name, one in action.inputs
        if isinstance(one, Action)
    }
    digests = file_digests(shop, action) | {n: one.tree.digest for n, one in inputs.items()}
    found = facts(shop, action, checkpoint, digests)
    key = action_key(found)
    with shop.store.workspace() as folder:
        result = ActionResult(
            key=key,
            action=action.name,
            facts=found,
            inputs=tuple((name, one.key) for name, one in inputs.items()),
            tree=shop.store.put(_output(folder / "output", key.hex, is_tree=is_tree)),
            seconds=1.0,
            peak_bytes=1,
            finished="2000-01-01T00:00:00+00:00",
            maker="benchmark",
        )
    shop.store.record(result)
    return result


def _output(path: Path, text: str, *, is_tree: bool) -> Path:
    if not is_tree:
        path.write_text(text, "utf-8")
        return path
    path.mkdir()
    for number in range(_FILES):
        (path / f"file-{number}").write_text(f"{text} {number}", "utf-8")
    return path
