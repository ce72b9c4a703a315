"""A worker's code: the files that it is shown, and their digest.

These are its script, the action's `worker_files`, the modules of the script's package that any of
them imports, and phibuild's own modules for workers. Imports are read from the text of the files,
so that nobody has to list modules; a module that is imported by a computed name has to be a
worker file.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from os.path import isdir, isfile, normpath
from pathlib import Path
from typing import NamedTuple

import phibuild
from phibuild.engine.reading.inputs import SKIPPED_FOLDERS
from phibuild.model.action import Action
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.errors import RecipeError, SourceError
from phibuild.store import Index

_FOR_WORKERS = Path(phibuild.__file__).parent / "worker"
_PROTOCOL = "phiworker.py"
_OFFERED = frozenset({"phitokenizer", "phitransformers"})
_PACKAGE = "__init__.py"
_EMPTY = Digest.of(b"")
_IMPORT = re.compile(
    rb"\n[ \t]*(?:import[ \t]+([^\n]+)|from[ \t]+([\w.]+)[ \t]+import\b"
    rb"(?:[ \t]*\(([^)]*)\)|([^\n]*)))"
)
_TICK_NS = 20_000_000
"""A younger file may change again under the same time: the clocks of file systems tick."""


class CodeFile(NamedTuple):
    """One file: its path among the code, and its source. A package's `__init__.py` that nobody
    declared is empty and has no source: the plugin's own imports phibuild."""

    path: str
    source: str | None
    digest: Digest

    def read(self) -> bytes:
        """The bytes, which may have changed since they were digested."""
        return b"" if self.source is None else _read(self.source)


class Code(NamedTuple):
    """The code that a worker is shown. `script` is the path of the file that runs."""

    script: str
    files: tuple[CodeFile, ...]
    digest: Digest

    @property
    def items(self) -> dict[str, str]:
        """The digests of the files by path."""
        return {file.path: str(file.digest) for file in self.files}


class CodeReader:
    """Reads the code of actions: a plugin's again when its files change, and the user's each time,
    since other targets of the same build may write it."""

    def __init__(self, index: Index | None = None) -> None:
        self._index = index
        self._began = time.time_ns()
        self._codes: dict[tuple[Path, ...], Code] = {}
        self._modules: dict[_Location, _Module] = {}

    def read(self, action: Action) -> Code:
        """SourceError PHI101 if a file does not exist, RecipeError PHI202 if two have the same
        path."""
        named = (action.worker, *action.worker_files)
        if action.code_root is not None:
            return _collect(named, action.code_root, {})
        if named not in self._codes:
            code = self._recall(named)
            if code is None:
                code = _collect(named, _around_package(action.worker), self._modules)
                self._record(named, code)
            self._codes[named] = code
        return self._codes[named]

    def _recall(self, named: tuple[Path, ...]) -> Code | None:
        """The code that an earlier process read, if its files and all folders around them are
        unchanged: a new file may be one that is imported."""
        text = self._index.recall(named[0], "code") if self._index is not None else None
        if text is None:
            return None
        known = json.loads(text)
        if known["named"] != [str(path) for path in named]:
            return None
        if any(_signature(path) != seen for path, seen in known["seen"].items()):
            return None
        files = tuple(CodeFile(path, source, Digest(hex)) for path, source, hex in known["files"])
        return Code(known["script"], files, Digest(known["digest"]))

    def _record(self, named: tuple[Path, ...], code: Code) -> None:
        """Remember code, unless a file may have changed since the first was read."""
        paths = {__file__, *(path for file in code.files for path in _around(file))}
        seen = {path: _signature(path) for path in sorted(paths)}
        is_old = all(times and times[0] < self._began - _TICK_NS for times in seen.values())
        if self._index is None or not is_old:
            return
        known = {
            "named": [str(path) for path in named],
            "script": code.script,
            "files": [(file.path, file.source, file.digest.hex) for file in code.files],
            "digest": code.digest.hex,
            "seen": seen,
        }
        self._index.record(
            named[0], "code", json.dumps(known), seen=self._index.signature(named[0])
        )

    @cached_property
    def offered(self) -> Digest:
        """The digest of phibuild's own modules for workers."""
        names = (_PROTOCOL, *(f"{name}.py" for name in sorted(_OFFERED)))
        return digest_of_value([str(Digest.of(_read(f"{_FOR_WORKERS}/{name}"))) for name in names])


def _around(file: CodeFile) -> Iterator[str]:
    """A file, and the folders that hold it from the root of its code on."""
    if file.source is not None:
        yield file.source
        folder = file.source
        for _ in file.path.split("/"):
            folder = folder.rpartition("/")[0]
            yield folder


def _signature(path: str) -> list[int]:
    """Numbers that change whenever a file or folder does, the time of its last change first; empty
    if it is gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return []
    return [stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size, stat.st_ino]


_Location = tuple[str, str]
"""A file's path among the code, and its source. Text, since each null build reads code."""


class _Module(NamedTuple):
    """A file's digest, and the modules of its package and of phibuild that it imports."""

    digest: Digest
    imports: tuple[_Location, ...]


def _collect(named: Iterable[Path], begin: Path, known: dict[_Location, _Module]) -> Code:
    """All files, beginning at those that an action names, its script first. `begin` is the folder
    that their paths are relative to."""
    root, script, *others = map(normpath, (begin, *named))
    shown = script[len(root) + 1 :]
    package = shown.partition("/")[0]
    waiting = [(_PROTOCOL, f"{_FOR_WORKERS}/{_PROTOCOL}")]
    waiting += [location for path in (script, *others) for location in _locations(path, root)]
    files: dict[str, CodeFile] = {}
    while waiting:
        path, source = location = waiting.pop()
        if path in files:
            if files[path].source != source:
                raise RecipeError(
                    f"{source} and {files[path].source} would both be the worker's {path}",
                    hint="rename one of them, or move it into a folder",
                    code="PHI202",
                )
            continue
        if location not in known:
            known[location] = _module(location, root, package, known)
        files[path] = CodeFile(path, source, known[location].digest)
        waiting += known[location].imports
    for init in _inits(files, root, package):
        files.setdefault(init, CodeFile(init, None, _EMPTY))
    ordered = tuple(sorted(files.values()))
    digest = digest_of_value([[file.path, str(file.digest)] for file in ordered])
    return Code(shown, ordered, digest)


def _inits(paths: Iterable[str], root: str, package: str) -> list[str]:
    """The `__init__.py` of each folder of a package that holds one of these files. Without it, an
    installed package of the same name would be imported instead."""
    folders = {path.rpartition("/")[0] for path in paths if path.startswith(f"{package}/")}
    for folder in tuple(folders):
        while folder := folder.rpartition("/")[0]:
            folders.add(folder)
    inits = [f"{folder}/{_PACKAGE}" for folder in folders]
    return [init for init in inits if isfile(f"{root}/{init}")]


def _around_package(worker: Path) -> Path:
    """The folder that holds the outermost package around a script, else the script's own."""
    folder = worker.parent
    while isfile(folder / _PACKAGE):
        folder = folder.parent
    return folder


def _locations(named: str, root: str) -> Iterator[_Location]:
    """A file, or the files in a folder, by their paths from the root, or from the folder that it
    lies in if that is elsewhere."""
    begin = root if named.startswith(f"{root}/") else named.rpartition("/")[0]
    if not isdir(named):
        yield named[len(begin) + 1 :], named
        return
    for folder, folders, names in os.walk(named):
        folders[:] = set(folders) - SKIPPED_FOLDERS
        for source in (f"{folder}/{name}" for name in names):
            if isfile(source):
                yield source[len(begin) + 1 :], source


def _module(location: _Location, root: str, package: str, known: Container[_Location]) -> _Module:
    path, source = location
    content = _read(source)
    imports: dict[str, str] = {}
    for module, names in _imported(content, path, package) if path.endswith(".py") else ():
        if (top := module.partition(".")[0]) in _OFFERED:
            imports[f"{top}.py"] = f"{_FOR_WORKERS}/{top}.py"
            continue
        inside = module.replace(".", "/")
        for file in (f"{inside}.py", *(f"{inside}/{name}.py" for name in names)):
            imported = f"{root}/{file}"
            if (file, imported) in known or isfile(imported):
                imports[file] = imported
                if file == f"{inside}.py":
                    break  # the names are its own
    return _Module(Digest.of(content), tuple(imports.items()))


def _imported(content: bytes, path: str, package: str) -> Iterator[tuple[str, list[str]]]:
    """The modules of its package and of phibuild that a file imports by a written name, and the
    names that it imports from each, which may be modules too."""
    tops = {name.encode() for name in (package, *_OFFERED, "")}  # a relative name begins with a dot
    for match in _IMPORT.finditer(b"\n" + content):
        plain, source, several, rest = match.groups(b"")
        modules = [source]
        if plain:
            modules = [words[0] for part in plain.split(b",") if (words := part.split())]
        for module in modules:
            if module.partition(b".")[0] in tops:
                names = re.findall(r"\w+", (several or rest).decode("latin-1"))
                yield _absolute(module.decode("latin-1"), path), names


def _absolute(module: str, path: str) -> str:
    """A module's name from the root on; each dot before it but the first is a folder up."""
    inside = module.lstrip(".")
    if inside == module:
        return module
    above = path.split("/")[: len(inside) - len(module)]
    return ".".join((*above, inside)).rstrip(".")


def _read(source: str) -> bytes:
    try:
        with open(source, "rb") as file:
            return file.read()
    except OSError as error:
        raise SourceError(
            f"the worker's file {source} cannot be read: {error.strerror}", hint="check the path"
        ) from None
