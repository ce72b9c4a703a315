"""The files that targets were made from, as a rule in Make's syntax: what Make includes, and Ninja
and CMake read as a depfile.

A folder is listed beside its files: its time changes when a file is added or removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import SCons.Node

from phibuild.engine.declaration import Declaration
from phibuild.engine.reading.inputs import SKIPPED_FOLDERS
from phibuild.engine.workshop import Workshop
from phibuild.model.action import OWN, Action, FileInput, Step, steps_of
from phibuild.model.errors import PhiError
from phibuild.process.scons_variables import DEPFILE_FROM, DEPFILE_TARGET
from phibuild.scons.session import Session
from phibuild.source import CARD
from phibuild.toolchain.own import own_code


def write_depfile(session: Session, path: Path) -> None:
    """One rule with all targets of this build, by their paths from the folder that the command was
    typed in, or by the one name that was requested; then an empty rule for each file, so that a
    deleted file is not an error."""
    names = session.selection().names
    declarations = [target for target in session.declarations.values() if target.name in names]
    files = set(_scripts(session))
    seen: set[Path] = set()
    for declaration in declarations:
        files |= set(_files_of(session, declaration, seen))
    start = os.environ.get(DEPFILE_FROM, str(session.folder))
    name = os.environ.get(DEPFILE_TARGET)
    paths = [os.path.relpath(declaration.target, start) for declaration in declarations]
    targets = [name] if name else paths
    listed = [_escaped(str(file)) for file in sorted(files)]
    lines = [" ".join(map(_escaped, targets)) + ": \\", *(f"  {file} \\" for file in listed), ""]
    lines += [f"{file}:" for file in listed]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _escaped(path: str) -> str:
    """As GCC writes them, which is what Make and Ninja read."""
    path = re.sub(r"(\\*)([ \t#])", r"\1\1\\\2", path)
    return path.replace("$", "$$").replace(":", "\\:")


def _scripts(session: Session) -> Iterator[Path]:
    """Every SConstruct and SConscript that was read, and the project's modules that they import."""
    for node in SCons.Node.SConscriptNodes:
        yield Path(node.rfile().get_abspath())
    for module in list(sys.modules.values()):
        path = Path(getattr(module, "__file__", None) or "")
        if path.is_relative_to(session.folder) and not path.is_relative_to(sys.prefix):
            yield path


def _files_of(session: Session, declaration: Declaration, seen: set[Path]) -> Iterator[Path]:
    """What a target is made from, and what does the work; and the same for its sources that are
    targets."""
    if declaration.target in seen:
        return
    seen.add(declaration.target)
    with contextlib.suppress(PhiError):  # no plan: the build has failed, and no depfile is kept
        plan = session.shop.plans.of(declaration)
        checkpoint = plan.checkpoint
        if checkpoint is not None and checkpoint.folder not in session.declarations:
            yield checkpoint.folder
            yield from {path.parent for path, _ in checkpoint.files}
            yield from (path for path, _ in checkpoint.files)
            if (card := checkpoint.folder / CARD).is_file():
                yield card
        for step in steps_of(plan.step):
            yield from _programs(session.shop, step)
    model = declaration.model
    for source in declaration.sources:
        if source in session.declarations:
            yield from _files_of(session, session.declarations[source], seen)
        elif model is None or source != model.folder:
            yield from _all_in(source)


def _programs(shop: Workshop, step: Step) -> Iterator[Path]:
    """The code of a step's worker and what pins its toolchains."""
    if isinstance(step, Action):
        for file in shop.toolchains.code.read(step).files:
            if file.source is not None:
                yield Path(file.source)
    if step.toolchain == OWN:
        yield from own_code()
    python = shop.registry.pythons.get(step.toolchain)
    if python is not None:
        yield python.lock
    for tool in step.tools:
        for build in steps_of(shop.toolchains.native_build(tool)):
            yield from _programs(shop, build)
            for _, input in build.inputs:
                if isinstance(input, FileInput):
                    yield from _all_in(Path(input.path))


def _all_in(path: Path) -> Iterator[Path]:
    """A file; or a folder, what is in it, and the folders in it."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
        yield Path(folder)
        yield from (Path(folder, name) for name in sorted(names))
