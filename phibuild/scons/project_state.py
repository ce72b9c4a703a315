"""All that an SConstruct declares, as JSON: what plan, explain and graph print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phibuild.engine.declaration import Declaration
from phibuild.engine.forecast.size import Size, expected_size
from phibuild.engine.forecast.state import ActionState, Described, Standing, describe
from phibuild.model.errors import PhiError
from phibuild.scons.session import Session


def write_description(session: Session, path: Path, *, with_sizes: bool) -> None:
    """Describe each declaration; one that cannot be described carries its error instead. Sizes of
    artifacts that are not made yet take work to predict, a little for each."""
    steps: dict[object, int] = {}
    targets: dict[str, dict[str, Any]] = {}
    for one in session.declarations.values():
        targets[one.name] = _described(session, one, steps, with_sizes=with_sizes)
        _wait_for_sources(targets[one.name], targets)
    document = {
        "folder": str(session.folder),
        "store": str(session.shop.store.root),
        "targets": list(targets.values()),
    }
    path.write_text(json.dumps(document), "utf-8")


def _wait_for_sources(target: dict[str, Any], others: dict[str, dict[str, Any]]) -> None:
    """Nobody knows how a target will stand whose source is made before it."""
    done = Standing.UP_TO_DATE.value
    for name in target["sources"]:
        if name in others and others[name].get("standing") not in (done, None):
            if target.get("standing") == done:
                target |= {"standing": Standing.WAITS.value, "reason": f"{name} comes first"}
            return


def _described(
    session: Session, declaration: Declaration, steps: dict[object, int], *, with_sizes: bool
) -> dict[str, Any]:
    """`steps` numbers the actions: two targets may need the same one."""
    document: dict[str, Any] = {
        "name": declaration.name,
        "format": declaration.format,
        "label": declaration.label,
        "sources": _sources(session, declaration),
    }
    try:
        size = expected_size(session.shop, declaration) if with_sizes else None
        found = describe(session.shop, declaration)
    except PhiError as error:
        return document | {"error": str(error)}
    return document | {
        "standing": found.standing.value,
        "reason": found.reason,
        "size": size._asdict() if size else None,
        "actions": [
            {
                "number": steps.setdefault((declaration.model, one.action), len(steps)),
                "name": one.action.name,
                "is_known": one.is_known,
                "seconds": one.cost.seconds if one.cost else None,
                "peak_bytes": one.cost.peak_bytes if one.cost else None,
                "makes": _makes(one, found, size),
                "changes": [str(change) for change in one.changes],
                "told": one.told,
            }
            for one in found.actions
        ],
    }


def _makes(one: ActionState, found: Described, size: Size | None) -> int | None:
    """Bytes that an action will make. Those of the artifact itself are best known."""
    if one.action == found.step and size is not None:
        return size.bytes
    return one.cost.made_bytes if one.cost else None


def _sources(session: Session, declaration: Declaration) -> list[str]:
    """What the target is made from: names of other targets, and paths from the project's folder."""
    return [
        session.declarations[path].name
        if path in session.declarations
        else str(path.relative_to(session.folder) if path.is_relative_to(session.folder) else path)
        for path in declaration.sources
    ]
