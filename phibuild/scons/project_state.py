"""The state of all targets of an SConstruct, as JSON: what plan, explain and graph print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phibuild.engine.declaration import Declaration
from phibuild.engine.forecast.size import Size, expected_size
from phibuild.engine.forecast.state import (
    ActionState,
    Standing,
    TargetState,
    missing_source,
    target_state,
)
from phibuild.model.errors import PhiError
from phibuild.scons.session import Session


def write_project_state(session: Session, path: Path, *, with_sizes: bool) -> None:
    """Write the state of each target, or the error of one that cannot be planned. Expected sizes
    take a little work for each."""
    numbers: dict[object, int] = {}
    targets: dict[str, dict[str, Any]] = {}
    for declaration in session.declarations.values():
        document = _target(session, declaration, numbers, with_sizes=with_sizes)
        _wait_for_sources(document, targets)
        targets[declaration.name] = document
    document = {
        "folder": str(session.folder),
        "store": str(session.shop.store.root),
        "targets": list(targets.values()),
    }
    path.write_text(json.dumps(document), "utf-8")


def _wait_for_sources(target: dict[str, Any], others: dict[str, dict[str, Any]]) -> None:
    """A target waits if one of its sources has to be built before it."""
    up_to_date = Standing.UP_TO_DATE.value
    for name in target["sources"]:
        if name in others and others[name].get("standing") not in (up_to_date, None):
            if target.get("standing") == up_to_date:
                target |= {"standing": Standing.WAITS.value, "reason": f"{name} comes first"}
            return


def _target(
    session: Session, declaration: Declaration, numbers: dict[object, int], *, with_sizes: bool
) -> dict[str, Any]:
    """`numbers` counts the actions: two targets may need the same one."""
    document: dict[str, Any] = {
        "name": declaration.name,
        "format": declaration.format,
        "label": declaration.label,
        "sources": _sources(session, declaration),
    }
    shop = session.shop
    try:
        # First the size: a prediction may run actions, whose results the state then knows.
        has_size = with_sizes and missing_source(shop.artifacts, declaration) is None
        size = expected_size(shop, shop.plans.of(declaration)) if has_size else None
        state = target_state(shop, declaration)
    except PhiError as error:
        return document | {"error": str(error)}
    return document | {
        "standing": state.standing.value,
        "reason": state.reason,
        "size": size._asdict() if size else None,
        "actions": [_action(declaration, action, state, size, numbers) for action in state.actions],
    }


def _action(
    declaration: Declaration,
    state: ActionState,
    target: TargetState,
    size: Size | None,
    numbers: dict[object, int],
) -> dict[str, Any]:
    cost = state.cost
    is_last = state.action == target.step and size is not None
    return {
        "number": numbers.setdefault((declaration.model, state.action), len(numbers)),
        "name": state.action.name,
        "is_known": state.is_known,
        "seconds": cost.seconds if cost else None,
        "peak_bytes": cost.peak_bytes if cost else None,
        "makes": size.bytes if is_last and size else cost.output_bytes if cost else None,
        "changes": [str(change) for change in state.changes],
        "notes": state.notes,
    }


def _sources(session: Session, declaration: Declaration) -> list[str]:
    """What the target is made from: names of other targets, and paths relative to the project."""
    return [
        session.declarations[path].name
        if path in session.declarations
        else str(path.relative_to(session.folder) if path.is_relative_to(session.folder) else path)
        for path in declaration.sources
    ]
