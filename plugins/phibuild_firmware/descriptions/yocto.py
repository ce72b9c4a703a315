"""Yocto: a recipe that fetches the image, checks it, and installs and deploys it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from phibuild.api import Action, ArtifactFacts, Extras, FileInput, Packager, recipe_field
from phibuild_firmware.descriptions.text import (
    SHA256,
    comment,
    description,
    name_of,
    plain,
    required,
    summary,
    wrong,
)

# OpenEmbedded's own copies of licences (meta/files/common-licenses), with the md5 that it requires.
_COMMON = {
    "MIT": "0835ade698e0bcf8506ecda2f7b4f302",
    "Apache-2.0": "89aea4e17d99a7cacdbeed46a0096b10",
}


@dataclass(frozen=True, slots=True)
class YoctoRecipe:
    """The fields of a recipe besides the digest. Its name and version are those of its file."""

    outdated: ClassVar[dict[str, str]] = {}

    url: str | None = recipe_field(
        None, "where the image can be fetched; @SHA256@ in it is its digest; required", kind="str"
    )
    license: str | None = recipe_field(
        None, "SPDX name of the licence; what the model's card says", kind="str"
    )
    license_checksum: str | None = recipe_field(
        None, "LIC_FILES_CHKSUM; known for MIT and Apache-2.0, else required", kind="str"
    )
    description: str | None = recipe_field(None, "a line for people", kind="str")
    homepage: str | None = recipe_field(None, "the model's web page", kind="str")
    folder: str = recipe_field("${datadir}/models", "where the image is installed", kind="str")


def _license(recipe: YoctoRecipe, about: ArtifactFacts) -> str | None:
    licence = recipe.license or about.model.license
    return next((name for name in _COMMON if name.lower() == licence.lower()), licence)


def _check(recipe: YoctoRecipe, about: ArtifactFacts, extras: Extras) -> None:
    required(recipe, "url")
    plain(recipe, "url", "license", "license_checksum", "description", "homepage", "folder")
    if not recipe.folder.startswith(("/", "${")):
        raise wrong(recipe, "folder", "it must be an absolute path on the device")
    if about.format and not about.model.architecture and about.model_name:
        return  # another target has yet to make the model, and its card
    name = _license(recipe, about)
    if not name:
        raise wrong(recipe, "license", "the model's card does not say: write license=...")
    if name not in _COMMON and recipe.license_checksum is None:
        raise wrong(
            recipe,
            "license_checksum",
            f'for {name}, write license_checksum="file://...;md5=..." of its text',
        )


def _plan(recipe: YoctoRecipe, artifact: FileInput, about: ArtifactFacts, extras: Extras) -> Action:
    name, licence = name_of(artifact), _license(recipe, about) or ""
    checksum = recipe.license_checksum or (
        f"file://${{COMMON_LICENSE_DIR}}/{licence};md5={_COMMON.get(licence, '')}"
    )
    homepage = f'HOMEPAGE = "{recipe.homepage}"\n' if recipe.homepage else ""
    installed = f"{recipe.folder.rstrip('/')}/{name}"
    text = f"""\
{comment(artifact, about, license=recipe.license)}
SUMMARY = "{recipe.description or summary(artifact, about)}"
{homepage}LICENSE = "{licence}"
LIC_FILES_CHKSUM = "{checksum}"

# Under a name with the version: downloads of all recipes and versions share a folder.
MODEL = "${{BP}}-{name}"
SRC_URI = "{recipe.url};name=model;downloadfilename=${{MODEL}};unpack=0"
SRC_URI[model.sha256sum] = "{SHA256}"

# Before Yocto 5.1 there was no UNPACKDIR.
UNPACKDIR ??= "${{WORKDIR}}"
S = "${{UNPACKDIR}}"

inherit allarch deploy

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {{
    install -D -m 0644 ${{UNPACKDIR}}/${{MODEL}} ${{D}}{installed}
}}

do_deploy() {{
    install -D -m 0644 ${{UNPACKDIR}}/${{MODEL}} ${{DEPLOYDIR}}/{name}
}}
addtask deploy after do_install before do_build

FILES:${{PN}} += "{installed}"
"""
    return description(text, artifact)


YOCTO_RECIPE = Packager(
    name="yocto-recipe",
    builder="YoctoRecipe",
    format="Yocto",
    kind="file",
    recipe=YoctoRecipe,
    check=_check,
    plan=_plan,
    label=lambda _: "recipe",
)
