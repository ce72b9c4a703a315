"""All that an SConstruct declares, as JSON: what plan, explain and graph print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from phibuild.engine.declaration import Custom, Declaration, Generation
from phibuild.engine.describe import describe
from phibuild.model.action import FileInput
from phibuild.model.errors import PhiError
from phibuild.scons.session import Session


def write_description(session: Session, path: Path) -> None:
    """Describe each declaration; one that cannot be described carries its error instead."""
    targets = [_described(session, one) for one in session.declarations.values()]
    path.write_text(json.dumps({"folder": str(session.folder), "targets": targets}), "utf-8")


def _described(session: Session, declaration: Declaration) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": declaration.name,
        "format": declaration.format,
        "label": declaration.label,
        "sources": _sources(session, declaration),
    }
    try:
        found = describe(session.shop, declaration)
    except PhiError as error:
        return document | {"error": str(error)}
    return document | {
        "standing": found.standing.value,
        "reason": found.reason,
        "size": found.manifest.tree.size if found.manifest else None,
        "actions": [
            {
                "name": action.name,
                "is_known": action.is_known,
                "seconds": action.seconds,
                "changes": [str(change) for change in action.changes],
            }
            for action in found.actions
        ],
    }


def _sources(session: Session, declaration: Declaration) -> list[str]:
    """What the target is made from: names of other targets, and paths from the project's folder."""
    what = declaration.what
    paths = [declaration.model.folder] if declaration.model else []
    if isinstance(what, Generation):
        paths.append(what.artifact)
    elif isinstance(what, Custom):
        paths += [Path(one.path) for _, one in what.made_by.inputs if isinstance(one, FileInput)]
    else:
        paths += [Path(one.path) for one in what.extras.values()]
    return [
        session.declarations[path].name
        if path in session.declarations
        else str(path.relative_to(session.folder) if path.is_relative_to(session.folder) else path)
        for path in paths
    ]
