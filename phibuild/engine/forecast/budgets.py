"""Budgets: whether what a build is about to make will fit where it is meant to go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import islice
from pathlib import Path

from phibuild.engine.declaration import Conversion, Declaration, Packaging
from phibuild.engine.forecast.size import Size, expected_size
from phibuild.engine.forecast.state import missing_source
from phibuild.engine.plans import Plan, plan_with
from phibuild.engine.reporter import Silent
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PackagingError, PhiError
from phibuild.model.sizes import show_size
from phibuild.offers import SizeLimit

_DOUBT = 1.1
"""How far an estimate may be off: a smaller excess is only known after the build."""
_PROPOSED = 4


def check_budgets(
    shop: Workshop, declarations: Mapping[Path, Declaration], selected: Set[str]
) -> None:
    """PackagingError PHI701 for the first of the selected targets that an artifact is too large
    for."""
    for target in declarations.values():
        if target.name in selected and isinstance(target.origin, Packaging):
            wrapped, artifact = _innermost(declarations, target.origin)
            if artifact is None or missing_source(shop.artifacts, artifact) is not None:
                continue
            try:
                plan = shop.plans.of(artifact)
            except PhiError:
                continue  # its own build reports it
            about = target.origin.about._replace(model=plan.model)
            limit = target.origin.packager.size_limit(target.origin.recipe, about)
            if limit is not None:
                for packaging in wrapped:
                    packager = packaging.packager
                    held = packager.payload_limit(packaging.recipe, limit.bytes)
                    limit = SizeLimit(held, f"{limit.reason}, and {packager.format} around it")
                _check(shop, target.name, plan, limit)


def _innermost(
    declarations: Mapping[Path, Declaration], packaging: Packaging
) -> tuple[list[Packaging], Declaration | None]:
    """What is packed in the end, and the packages around it inside this one, outermost first."""
    wrapped: list[Packaging] = []
    artifact = declarations.get(packaging.artifact)
    while artifact is not None and isinstance(artifact.origin, Packaging):
        wrapped.append(artifact.origin)
        artifact = declarations.get(artifact.origin.artifact)
    return wrapped, artifact


def _check(shop: Workshop, name: str, plan: Plan, limit: SizeLimit) -> None:
    try:
        size = expected_size(shop, plan)
    except PhiError:
        return  # its own build reports it
    is_doubtful = size is not None and not size.is_exact and not size.is_most
    if size is None or size.bytes <= limit.bytes * (_DOUBT if is_doubtful else 1):
        return
    artifact = plan.declaration
    raise PackagingError(
        f"{artifact.name} ({artifact.label}) will have {size.word}{size.bytes:,} bytes,"
        f" {size.bytes - limit.bytes:,} more than {name} has room for: {limit.reason}",
        hint=_proposal(shop, plan, limit.bytes),
    )


def _proposal(shop: Workshop, plan: Plan, limit: int) -> str:
    """The best few recipes of the same backend whose artifact would fit."""
    conversion = plan.declaration.origin
    if not isinstance(conversion, Conversion) or conversion.backend.alternatives is None:
        return "choose a lower precision, or a larger slot"
    quiet = shop._replace(reporter=Silent())  # a dozen predictions are not worth reporting
    fitting = islice(_fitting(quiet, plan, conversion, limit), _PROPOSED)
    listed = ", ".join(f"{label} ({size.word}{show_size(size.bytes)})" for label, size in fitting)
    return f"these would fit: {listed}" if listed else "none of its file types would fit"


def _fitting(
    shop: Workshop, plan: Plan, conversion: Conversion, limit: int
) -> Iterator[tuple[str, Size]]:
    backend = conversion.backend
    assert backend.alternatives is not None
    for recipe in backend.alternatives(conversion.recipe, limit):
        declaration = plan.declaration._replace(origin=conversion._replace(recipe=recipe))
        try:
            size = expected_size(shop, plan_with(declaration, plan.checkpoint, plan.model))
        except PhiError:
            continue  # the backend refuses this recipe
        if size is not None and size.bytes <= limit:
            yield backend.label(recipe), size
