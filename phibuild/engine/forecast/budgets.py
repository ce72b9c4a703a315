"""Budgets before work: whether what a build is about to make will fit where it is meant to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from itertools import islice
from pathlib import Path

from phibuild.engine.declaration import Conversion, Declaration, Packaging, model_facts
from phibuild.engine.forecast.size import Size, expected_size
from phibuild.engine.forecast.state import missing_source
from phibuild.engine.reporter import Silent
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PackagingError, PhiError
from phibuild.model.sizes import show_size
from phibuild.offers import Room

_DOUBT = 1.1
"""How far an estimate may be off: what is above by less is only known when it is made."""
_PROPOSED = 4


def check_budgets(
    shop: Workshop, declarations: Mapping[Path, Declaration], asked: Set[str]
) -> None:
    """PackagingError PHI701 for the first of these targets that an artifact is too large for."""
    for one in declarations.values():
        if one.name in asked and isinstance(one.what, Packaging):
            wrapped, artifact = _innermost(declarations, one.what)
            if artifact is not None and missing_source(shop, artifact) is None:
                model = artifact.model
                checkpoint = shop.checkpoint(model.folder) if model is not None else None
                about = one.what.about._replace(model=model_facts(checkpoint))
                room = one.what.packager.room(one.what.recipe, about)
                if room is not None:
                    for what in wrapped:
                        held = what.packager.holds(what.recipe, room.bytes)
                        room = Room(held, f"{room.of}, and {what.packager.format} around it")
                    _check(shop, one.name, artifact, room)


def _innermost(
    declarations: Mapping[Path, Declaration], what: Packaging
) -> tuple[list[Packaging], Declaration | None]:
    """What is packed in the end, and the packages around it inside this one, outermost first."""
    wrapped: list[Packaging] = []
    artifact = declarations.get(what.artifact)
    while artifact is not None and isinstance(artifact.what, Packaging):
        wrapped.append(artifact.what)
        artifact = declarations.get(artifact.what.artifact)
    return wrapped, artifact


def _check(shop: Workshop, name: str, artifact: Declaration, room: Room) -> None:
    size = _size(shop, artifact)
    is_doubtful = size is not None and not size.is_exact and not size.is_most
    if size is None or size.bytes <= room.bytes * (_DOUBT if is_doubtful else 1):
        return
    raise PackagingError(
        f"{artifact.name} ({artifact.label}) will have {size.word}{size.bytes:,} bytes,"
        f" {size.bytes - room.bytes:,} more than {name} has room for: {room.of}",
        hint=_what_fits(shop, artifact, room.bytes),
    )


def _what_fits(shop: Workshop, artifact: Declaration, limit: int) -> str:
    """The best few recipes of the same backend whose artifact would fit."""
    what = artifact.what
    if not isinstance(what, Conversion) or what.backend.alternatives is None:
        return "choose a lower precision, or a larger slot"
    quiet = replace(shop, reporter=Silent())  # a dozen predictions are no news
    fitting = islice(_fitting(quiet, artifact, what, limit), _PROPOSED)
    listed = ", ".join(f"{label} ({size.word}{show_size(size.bytes)})" for label, size in fitting)
    return f"these would fit: {listed}" if listed else "none of its file types would fit"


def _fitting(
    shop: Workshop, artifact: Declaration, what: Conversion, limit: int
) -> Iterable[tuple[str, Size]]:
    backend = what.backend
    assert backend.alternatives is not None
    for recipe in backend.alternatives(what.recipe, limit):
        size = _size(shop, replace(artifact, what=what._replace(recipe=recipe)))
        if size is not None and size.bytes <= limit:
            yield backend.label(recipe), size


def _size(shop: Workshop, artifact: Declaration) -> Size | None:
    try:
        return expected_size(shop, artifact)
    except PhiError:
        return None  # its own build will tell, and a recipe that cannot be is no proposal
