"""The toolchain "phibuild": the interpreter that runs phibuild, with what is installed there."""

from __future__ import annotations

import site
from collections.abc import Iterator
from pathlib import Path

import phibuild
from phibuild.model.action import OWN
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.facts import Fact, Facts
from phibuild.toolchain.python import python_identity

_PACKAGE = Path(phibuild.__file__).parent
_PREFIX = f"toolchain.{OWN}"


def own_code() -> list[Path]:
    """The modules of phibuild."""
    return sorted(_PACKAGE.rglob("*.py"))


def facts_of_own() -> Facts:
    """phibuild's code, and the versions of all distributions by the names of their folders. Of
    other editable distributions only the version is known."""
    code = [
        [path.relative_to(_PACKAGE).as_posix(), str(Digest.of(path.read_bytes()))]
        for path in own_code()
    ]
    return (
        Fact(_PREFIX, str(digest_of_value(code))),
        Fact(f"{_PREFIX}.python", python_identity()),
        *sorted({Fact(f"{_PREFIX}.{name}", version) for name, version in _distributions()}),
    )


def _distributions() -> Iterator[tuple[str, str]]:
    """Name and version of each, from names alone: importlib.metadata takes longer."""
    for place in site.getsitepackages():
        for entry in Path(place).iterdir() if Path(place).is_dir() else ():
            stem, _, suffix = entry.name.rpartition(".")
            name, _, version = stem.partition("-")
            if suffix in ("dist-info", "egg-info"):
                yield name.lower().replace("_", "-"), version.partition("-")[0]
