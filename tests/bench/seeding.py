"""Records results for artifacts that were never built, to measure everything but the building."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phibuild.engine.declaration import Conversion, model_facts
from phibuild.engine.keys import keyed
from phibuild.engine.workshop import Workshop
from phibuild.model.action import Assembly, Part, Step, assembled, step_of, steps_of
from phibuild.model.recipe import parse_recipe
from phibuild.source import Checkpoint
from phibuild.store import ActionResult

_FILES = 8
"""Files in a folder of MLX, ONNX or OpenVINO."""


def seed_artifact(
    shop: Workshop, checkpoint: Checkpoint, builder: str, fields: Mapping[str, Any]
) -> None:
    """Record a small result under the key of each step of the artifact."""
    backend = shop.registry.backend_of_builder(builder)
    recipe = parse_recipe(backend.recipe, fields, builder=builder)
    last = Conversion(backend, recipe, {}).plan(model_facts(checkpoint))
    parts: dict[Step, set[str]] = {step: set() for step in steps_of(last)}
    for step in parts:
        for _, source in step.inputs:
            if isinstance(source, Part):
                parts[source.of].add(source.path)
    results: dict[Step, ActionResult] = {}
    for step, paths in parts.items():
        results[step] = _seed(shop, step, checkpoint, results, paths, backend.kind == "tree")


def _seed(
    shop: Workshop,
    step: Step,
    checkpoint: Checkpoint,
    results: Mapping[Step, ActionResult],
    parts: set[str],
    is_tree: bool,
) -> ActionResult:
    needed = {name: of for name, source in step.inputs if (of := step_of(source)) is not None}
    keyed_step = keyed(shop, step, checkpoint, {name: results[of] for name, of in needed.items()})
    key = keyed_step.key
    if isinstance(step, Assembly):
        tree = assembled(list(keyed_step.trees.items()))
    else:
        with shop.store.workspace() as folder:
            tree = shop.store.put(_output(folder / "output", key.hex, parts, is_tree=is_tree))
    result = ActionResult(
        key=key,
        action=step.name,
        facts=keyed_step.facts,
        inputs=tuple((name, results[of].key) for name, of in needed.items()),
        tree=tree,
        seconds=1.0,
        peak_bytes=1,
        finished="2000-01-01T00:00:00+00:00",
        maker="benchmark",
    )
    shop.store.record(result)
    return result


def _output(path: Path, text: str, parts: set[str], *, is_tree: bool) -> Path:
    """A file, or a folder with the parts that other steps use: files if they have a suffix."""
    if not is_tree:
        path.write_text(text, "utf-8")
        return path
    for part in parts or {f"{text}-files"}:
        if Path(part).suffix:
            (path / part).parent.mkdir(parents=True, exist_ok=True)
            (path / part).write_text(f"{text} {part}", "utf-8")
        else:
            (path / part).mkdir(parents=True)
            for number in range(_FILES):
                (path / part / f"{Path(part).name}-{text[:8]}-{number}").write_text(
                    f"{text} {number}", "utf-8"
                )
    return path
