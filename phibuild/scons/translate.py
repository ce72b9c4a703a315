"""Between SCons' world and ours: paths and nodes to values, our errors to SCons' errors."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import SCons.Errors
import SCons.Node
import SCons.Node.FS
import SCons.Util

from phibuild.engine.reading.inputs import read_input
from phibuild.engine.territory.territory import HINT
from phibuild.model.errors import PhiError, RecipeError
from phibuild.model.manifest import SUFFIX
from phibuild.scons.paths import check_input, check_path
from phibuild.scons.session import session


class Source(NamedTuple):
    """A path that a user named, and the node that stands for its content in the build graph: the
    manifest, if it is a target of this build."""

    path: Path
    node: SCons.Node.Node


@contextlib.contextmanager
def read_phase() -> Iterator[None]:
    """While the SConstruct is read, a PhiError or a refusal of the file system ends the run with
    the line that caused it.

    A StopError, since SCons would name a line of ours for a UserError.
    """
    try:
        yield
    except (PhiError, OSError) as error:
        from phibuild.engine.disk import as_phi_error

        phi_error = error if isinstance(error, PhiError) else as_phi_error(error)
        raise SCons.Errors.StopError(f"{phi_error}\n  at {_user_line()}.") from None


def _user_line() -> str:
    """The innermost line of the stack that is neither ours nor SCons' nor Python's."""
    ours = (str(_OURS), str(Path(SCons.Errors.__file__).parent), str(Path(contextlib.__file__)))
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(ours):
            return f"{frame.filename}, line {frame.lineno}"
    return "an unknown line"


_OURS = Path(__file__).parent.parent
_DEEPEST = 8


def target_node(env: Any, target: Any) -> SCons.Node.FS.File:
    """The node of the manifest beside an artifact; RecipeError PHI205 for an unusable path."""
    node = single(target, "target")
    is_node = isinstance(node, SCons.Node.FS.Base)
    name = node.get_abspath() if is_node else substituted(env, str(node))
    first, _, rest = name.partition("/")
    is_home = first == "~" or (first.startswith("~") and rest)
    if is_home or "\0" in name or name.rpartition("/")[2] in ("", ".", "..", "#"):
        raise RecipeError(
            f"{name!r} is not a path for an artifact",
            hint="SCons does not expand ~: write os.path.expanduser(...)"
            if is_home
            else 'write a path such as "dist/model.gguf"',
            code="PHI205",
        )
    check_path(name)
    return file_node(env, f"{name}{SUFFIX}")


def file_node(env: Any, path: str) -> SCons.Node.FS.File:
    """The node of a file; RecipeError PHI205 if SCons knows a file of the build as its folder, or a
    folder of the build by its name."""
    try:
        return env.fs.File(path)
    except TypeError as error:
        raise RecipeError(
            f"{path} cannot be a file of this build: {str(error).partition('.:')[0]}",
            hint=HINT,
            code="PHI205",
        ) from None


def find(env: Any, value: Any) -> Source:
    """The path of a source: a string, a node, or what one of our builders returned."""
    node = single(value, "source")
    if isinstance(node, str):
        node = env.fs.Entry(substituted(env, node))
    if isinstance(node, SCons.Node.FS.Base):
        path = Path(node.get_abspath())
        if not path.exists() and Path(node.srcnode().get_abspath()).exists():
            path = Path(node.srcnode().get_abspath())
    else:
        path = session().folder / str(node)  # an alias: its name is the artifact's path
    if path in session().declarations:
        return Source(path, env.fs.File(f"{path}{SUFFIX}"))
    if check_input(path):
        return Source(path, env.Value(str(read_input(session().shop.sources, path).digest)))
    return Source(path, file_node(env, str(path)))


def artifact_path(env: Any, value: Any) -> Path | None:
    """The path of a source that is an artifact of this build; else None."""
    declared = session().declarations
    if not declared or not isinstance(value, str | Path | SCons.Node.Node):
        return None
    if isinstance(value, str | Path):
        value = env.fs.Entry(env.subst(str(value)))
    is_file = isinstance(value, SCons.Node.FS.Base)
    path = Path(value.get_abspath()) if is_file else session().folder / str(value)
    return path if path in declared else None


def substituted(env: Any, path: str) -> str:
    """A path with the environment's variables in it; RecipeError PHI205 if it cannot be one."""
    check_path(path)
    try:
        expanded = str(env.subst(path))
    except SCons.Errors.UserError as error:
        raise RecipeError(
            f"the path {path!r} cannot be read: {error}",
            hint="SCons replaces $NAME by a variable; write $$ for a dollar sign",
            code="PHI205",
        ) from None
    check_path(expanded)
    return expanded


def listed(values: Any) -> list[Any]:
    """The items of a value that may be one item, or lists in lists of them, or None."""
    try:
        return [] if values is None else list(SCons.Util.flatten([values]))
    except RecursionError:
        from phibuild.model.text import brief  # for errors only

        raise RecipeError(
            f"{brief(values)} is nested endlessly", hint="pass a list of paths", code="PHI202"
        ) from None


def single(value: Any, role: str) -> Any:
    """The only item of a value that may be a list of nodes; RecipeError PHI201 for several, PHI202
    for something that is neither a path nor a node."""
    for _ in range(_DEEPEST):
        if not SCons.Util.is_List(value):
            break
        if len(value) != 1:
            raise RecipeError(
                f"one {role} is expected, not {len(value)}", hint="call the builder once for each"
            )
        value = value[0]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, str | SCons.Node.Node):
        return value
    from phibuild.model.text import brief  # for errors only

    raise RecipeError(
        f"the {role} is {brief(value)}, which is not a path",
        hint="pass a path, or what a builder returned",
        code="PHI202",
    )
