"""A worker's code: the files that it is shown, and their digest.

These are its script, the action's `worker_files`, the modules of the script's package that any of
them imports, and phibuild's own modules for workers. An import is found by its text, so there is no
list of modules to forget; a module that is imported by a computed name has to be a worker file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import phibuild
from phibuild.model.action import Action
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.errors import RecipeError, SourceError

_FOR_WORKERS = Path(phibuild.__file__).parent / "worker"
_PROTOCOL = "phiworker.py"
_OFFERED = frozenset({"phitokenizer", "phitransformers"})
_PACKAGE = "__init__.py"
_EMPTY = Digest.of(b"")
_IMPORT = re.compile(
    rb"\n[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import\b(?:[ \t]*\(([^)]*)\)|([^\n]*))"
    rb"|import[ \t]+([^\n]+))"
)
_SKIPPED_FOLDERS = frozenset({"__pycache__", ".git"})


class CodeFile(NamedTuple):
    """One file: its path among the code, and where it comes from. A package's `__init__.py` that
    nobody declared is empty and comes from nowhere: the plugin's own imports phibuild."""

    path: str
    source: Path | None
    digest: Digest

    def read(self) -> bytes:
        """The bytes, which may have changed since the digest was taken."""
        return b"" if self.source is None else _read(self.source)


class Code(NamedTuple):
    """What a worker is shown of code. `script` is the path of the file that runs."""

    script: str
    files: tuple[CodeFile, ...]
    digest: Digest

    @property
    def items(self) -> dict[str, str]:
        """The digests of the files by path."""
        return {file.path: str(file.digest) for file in self.files}


class CodeReader:
    """Reads the code of actions: a plugin's once in this process, and the user's each time, since
    other targets of the same build may write it."""

    def __init__(self) -> None:
        self._codes: dict[tuple[Path, ...], Code] = {}
        self._modules: dict[_Place, _Module] = {}

    def read(self, action: Action) -> Code:
        """SourceError PHI101 if a file is not there, RecipeError PHI202 if two have one path."""
        named = (action.worker, *action.worker_files)
        if action.code_root is not None:
            return _collect(named, action.code_root, {})
        if named not in self._codes:
            root = _around_package(action.worker)
            self._codes[named] = _collect(named, root, self._modules)
        return self._codes[named]

    @cached_property
    def offered(self) -> Digest:
        """The digest of phibuild's own modules for workers."""
        names = (_PROTOCOL, *(f"{name}.py" for name in sorted(_OFFERED)))
        return digest_of_value([str(Digest.of(_read(_FOR_WORKERS / name))) for name in names])


_Place = tuple[str, Path]
"""A file's path among the code, and where it comes from."""


class _Module(NamedTuple):
    """A file's digest, and the modules of its package and of phibuild that it imports."""

    digest: Digest
    imports: tuple[_Place, ...]


def _collect(named: tuple[Path, ...], root: Path, known: dict[_Place, _Module]) -> Code:
    """All files, beginning at those that an action names, its script first. `root` is where their
    paths begin."""
    root, script, *others = (Path(os.path.normpath(path)) for path in (root, *named))
    package = root / script.relative_to(root).parts[0]
    waiting = [(_PROTOCOL, _FOR_WORKERS / _PROTOCOL)]
    waiting += [place for path in (script, *others) for place in _places(path, root)]
    found: dict[str, CodeFile] = {}
    while waiting:
        path, source = waiting.pop()
        if path in found:
            if found[path].source != source:
                raise RecipeError(
                    f"{source} and {found[path].source} would both be the worker's {path}",
                    hint="rename one of them, or move it into a folder",
                    code="PHI202",
                )
            continue
        module = known.get((path, source))
        if module is None:
            module = known[path, source] = _module(path, source, package)
        found[path] = CodeFile(path, source, module.digest)
        waiting += module.imports
    for init in _inits(found, package):
        found.setdefault(init, CodeFile(init, None, _EMPTY))
    files = tuple(sorted(found.values()))
    digest = digest_of_value([[one.path, str(one.digest)] for one in files])
    return Code(script.relative_to(root).as_posix(), files, digest)


def _inits(paths: Iterable[str], package: Path) -> list[str]:
    """The `__init__.py` of each folder of a package that holds one of these files. Without it, an
    installed package of the same name would be imported in place of what is shown."""
    inside = [path for path in paths if path.startswith(f"{package.name}/")]
    folders = {folder for path in inside for folder in PurePosixPath(path).parents[:-1]}
    inits = [f"{folder}/{_PACKAGE}" for folder in folders]
    return [init for init in inits if (package.parent / init).is_file()]


def _around_package(worker: Path) -> Path:
    """The folder that holds the outermost package around a script, else the script's own."""
    folder = worker.parent
    while (folder / _PACKAGE).is_file():
        folder = folder.parent
    return folder


def _places(named: Path, root: Path) -> Iterator[_Place]:
    """A file, or the files in a folder, by their paths from the root, or from the folder that it
    lies in if that is elsewhere."""
    begin = root if named.is_relative_to(root) else named.parent
    if not named.is_dir():
        yield named.relative_to(begin).as_posix(), named
        return
    for folder, folders, names in os.walk(named):
        folders[:] = set(folders) - _SKIPPED_FOLDERS
        for source in (Path(folder, name) for name in names):
            if source.is_file():
                yield source.relative_to(begin).as_posix(), source


def _module(path: str, source: Path, package: Path) -> _Module:
    content = _read(source)
    imports: dict[str, Path] = {}
    for module, names in _imported(content, path) if path.endswith(".py") else ():
        top = module.partition(".")[0]
        if top in _OFFERED:
            imports[f"{top}.py"] = _FOR_WORKERS / f"{top}.py"
        elif top == package.name:
            inside = module.replace(".", "/")
            for file in (f"{inside}.py", *(f"{inside}/{name}.py" for name in names)):
                if (package.parent / file).is_file():
                    imports[file] = package.parent / file
                    if file == f"{inside}.py":
                        break  # the names are its own
    return _Module(Digest.of(content), tuple(imports.items()))


def _imported(content: bytes, path: str) -> Iterator[tuple[str, list[str]]]:
    """The modules that a file imports, as far as they are written out, and the names that it takes
    from each: such a name may be a module, too."""
    for match in _IMPORT.finditer(b"\n" + content):
        parts = (part.decode("utf-8", "replace") for part in match.groups(b""))
        module, several, rest, plain = parts
        if plain:
            yield from ((words[0], []) for one in plain.split(",") if (words := one.split()))
            continue
        inside = module.lstrip(".")
        if inside != module:
            above = path.split("/")[: len(inside) - len(module)]
            module = ".".join((*above, inside)).rstrip(".")
        yield module, re.findall(r"\w+", several or rest)


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise SourceError(
            f"the worker's file {source} cannot be read: {error.strerror}", hint="check the path"
        ) from None


def changed(file: Path | str) -> SourceError:
    """The error for code that is not what a key says."""
    return SourceError(
        f"{file}, which is code of a worker, changed during the build",
        hint="build again",
        code="PHI106",
    )
