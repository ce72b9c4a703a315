"""The text of a description: it comes from the recipe, before the image exists, with marks that the
worker replaces by the image's digest and size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phibuild.api import Action, ArtifactFacts, FileInput, RecipeError, SizeLimit, frozen_recipe

SHA256, SIZE, ROUNDED = "@SHA256@", "@SIZE@", "@ROUNDED@"
"""The image's digest in hex, its bytes, and these rounded up to whole blocks of flash (hex)."""

_WORKER = Path(__file__).with_name("worker_description.py")


def description(text: str, artifact: FileInput, *, limit: int | None = None) -> Action:
    """The action that writes the text for this artifact; PHI701 if it is larger than `limit`."""
    return Action(
        name="firmware.description",
        worker=_WORKER,
        toolchain="host",
        recipe=frozen_recipe({"text": text, "limit": limit}),
        inputs=(("artifact", artifact),),
    )


def limit_of(recipe: Any, field: str) -> SizeLimit | None:
    """The limit that a field with the size of a slot sets."""
    size = getattr(recipe, field)
    return None if size is None else SizeLimit(size, f"{field} of {size:,} bytes")


def name_of(artifact: FileInput) -> str:
    """The image's file name in other systems."""
    return Path(artifact.path).name


def comment(artifact: FileInput, about: ArtifactFacts, *, license: str | None = None) -> str:
    """The comment at the beginning of each description."""
    known = license or about.model.license or "unknown: the model's card does not say"
    return (
        f"# Written by phibuild for {name_of(artifact)}: {SIZE} bytes, sha256 {SHA256}\n"
        f"# Licence: {known}\n"
    )


def summary(artifact: FileInput, about: ArtifactFacts) -> str:
    """The description if the recipe has none."""
    return ", ".join(filter(None, (about.model_name, about.format))) or name_of(artifact)


def required(recipe: Any, *fields: str) -> None:
    """RecipeError PHI202 for a field without a value."""
    for field in fields:
        if getattr(recipe, field) is None:
            raise wrong(recipe, field, f"write {field}=...")


def plain(recipe: Any, *fields: str) -> None:
    """RecipeError PHI202 for texts with characters that would end a quoted text, or the line."""
    for field in fields:
        value = getattr(recipe, field) or ""
        if not value.isprintable() or any(character in value for character in '"\\'):
            raise wrong(recipe, field, "it must be one line, without quotes and backslashes")


def wrong(recipe: Any, field: str, hint: str) -> RecipeError:
    """The error for a value that is missing or not valid."""
    value = getattr(recipe, field)
    problem = f"{field} is required" if value is None else f"{field}={value!r} is not valid"
    return RecipeError(problem, hint=hint, code="PHI202")
