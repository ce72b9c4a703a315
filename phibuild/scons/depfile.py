"""The files that targets were made from, as a rule in Make's syntax: what Make includes, and Ninja
and CMake read as a depfile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from SCons.Script import GetOption

from phibuild.engine.declaration import Declaration
from phibuild.scons.session import DEPFILE_FROM, Session


def write_depfile(session: Session, path: Path) -> None:
    """One rule with all targets of this build, named as from the folder that the command was typed
    in; then an empty rule for each file, so that one that is deleted is no error."""
    start = os.environ.get(DEPFILE_FROM, str(session.folder))
    names = session.asked()
    chosen = [one for one in session.declarations.values() if one.name in names]
    files = dict.fromkeys(_scripts(session))
    for one in chosen:
        files |= dict.fromkeys(_files_of(session, one, set()))
    targets = " ".join(_escaped(os.path.relpath(one.target, start)) for one in chosen)
    listed = [_escaped(str(file)) for file in files]
    lines = [f"{targets}: \\", *(f"  {file} \\" for file in listed), ""]
    lines += [f"{file}:" for file in listed]
    beside = path.with_name(f".{path.name}.new")
    beside.write_text("\n".join(lines) + "\n", "utf-8")
    beside.replace(path)


def _scripts(session: Session) -> Iterator[Path]:
    for name in GetOption("file") or ["SConstruct"]:
        yield session.folder / name


def _files_of(session: Session, one: Declaration, seen: set[Path]) -> Iterator[Path]:
    for source in one.sources:
        if source in seen:
            continue
        seen.add(source)
        if source in session.declarations:
            yield from _files_of(session, session.declarations[source], seen)
        elif source.is_dir():
            yield from (file for file in sorted(source.rglob("*")) if file.is_file())
        else:
            yield source


def _escaped(path: str) -> str:
    """As GCC writes them, which is what Make and Ninja read."""
    return path.replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ")
