"""The imports of a worker, by Python's own parser, to compare with the code that it is shown."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from phibuild.engine.workers.code import CodeReader
from phibuild.model.action import Action


def forgotten_and_superfluous(action: Action) -> tuple[set[Path], set[Path]]:
    """The modules beside a worker that it imports but is not shown, and those that it is shown but
    that nothing imports and the action does not name."""
    code = CodeReader().read(action)
    depth = code.script.count("/")
    root = action.worker.parents[depth]
    package = action.worker.parents[depth - 1] if depth else root
    shown = {
        path
        for file in code.files
        if (path := Path(file.source or "")).suffix == ".py" and path.is_relative_to(package)
    }
    named = {action.worker, *action.worker_files}
    imported: set[Path] = set()
    waiting = [path for path in named if path.suffix == ".py"]
    while waiting:
        for name in _names(waiting.pop(), root):
            file = _file(root, name)
            if file not in imported and file.is_relative_to(package) and file.is_file():
                imported.add(file)
                waiting.append(file)
    return imported - shown, shown - imported - named


def _file(root: Path, name: str) -> Path:
    return root / f"{name.replace('.', '/')}.py"


def _names(path: Path, root: Path) -> Iterator[str]:
    """The dotted names that may be modules, but not the names imported from a file."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(root).parts[: -node.level] if node.level else ()
            module = ".".join((*above, *([node.module] if node.module else [])))
            yield module
            if not _file(root, module).is_file():
                yield from (f"{module}.{alias.name}" for alias in node.names)
