"""Zephyr: a `module.yml` with the image as a blob, which `west blobs fetch` gets and checks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import ClassVar

from phibuild.api import Action, ArtifactFacts, Extras, FileInput, Packager, recipe_field
from phibuild_firmware.descriptions.text import (
    SHA256,
    comment,
    description,
    name_of,
    required,
    summary,
    wrong,
)


@dataclass(frozen=True, slots=True)
class ZephyrRecipe:
    """The fields of a blob in Zephyr's schema of modules, and the module's name."""

    outdated: ClassVar[dict[str, str]] = {}

    url: str | None = recipe_field(
        None, "where the image can be fetched; @SHA256@ in it is its digest; required", kind="str"
    )
    version: str | None = recipe_field(None, "version of the blob; required", kind="str")
    license_path: str | None = recipe_field(
        None, "the licence's text, as a path in the module; required", kind="str"
    )
    path: str | None = recipe_field(
        None, "where the blob goes, below zephyr/blobs; the image's own name", kind="str"
    )
    description: str | None = recipe_field(None, "a line for people", kind="str")
    doc_url: str | None = recipe_field(None, "the model's documentation", kind="str")
    module: str | None = recipe_field(None, "the module's name; its folder's", kind="str")


def _check(recipe: ZephyrRecipe, about: ArtifactFacts, extras: Extras) -> None:
    required(recipe, "url", "version", "license_path")
    for field in ("path", "license_path"):
        path = PurePosixPath(getattr(recipe, field) or "")
        if path.is_absolute() or ".." in path.parts:
            raise wrong(recipe, field, "it must be a path inside the module")


def _plan(
    recipe: ZephyrRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras
) -> Action:
    blob = {
        "path": recipe.path or name_of(artifact),
        "sha256": SHA256,
        "type": "img",
        "version": recipe.version,
        "license-path": recipe.license_path,
        "url": recipe.url,
        "description": recipe.description or summary(artifact, about),
        **({"doc-url": recipe.doc_url} if recipe.doc_url else {}),
    }
    # Every text in JSON is one in YAML.
    fields = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in blob.items()]
    module = f"name: {json.dumps(recipe.module, ensure_ascii=False)}\n" if recipe.module else ""
    text = comment(artifact, about) + module + "blobs:\n  - " + "\n    ".join(fields) + "\n"
    return description(text, artifact)


ZEPHYR_MODULE = Packager(
    name="zephyr-module",
    builder="ZephyrModule",
    format="Zephyr",
    kind="file",
    recipe=ZephyrRecipe,
    check=_check,
    plan=_plan,
    label=lambda _: "module",
)
