"""SCons' `Install` and `InstallAs` for artifacts: phibuild installs them, SCons everything else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import SCons.Errors
import SCons.Script
import SCons.Util


def add_installers(env: Any, find: Callable[..., Any], copy: Callable[..., Any]) -> None:
    """Let `Install` and `InstallAs` of this environment accept artifacts.

    `find(env, source)` is the path of an artifact, and None for anything else, and
    `copy(env, target, path)` declares the artifact as a target with another path, too.
    """
    for name, install in (("Install", _install), ("InstallAs", _install_as)):
        plain = getattr(env, name).method
        env.AddMethod(functools.partial(install, find, copy, plain), name)


def _install(
    find: Callable[..., Any],
    copy: Callable[..., Any],
    plain: Callable[..., Any],
    env: Any,
    *given: Any,
    **named: Any,
) -> Any:
    folders, sources, others = _arguments(*given, **named)
    if not any(find(env, source) for source in sources):
        return plain(env, *given, **named)
    installed = []
    for folder in _nodes(env, folders, "Dir"):
        for source in sources:
            path = find(env, source)
            if path is None:
                installed += plain(env, folder, [source], **others)
            else:
                installed += copy(env, Path(folder.get_abspath()) / path.name, path)
    return installed


def _install_as(
    find: Callable[..., Any],
    copy: Callable[..., Any],
    plain: Callable[..., Any],
    env: Any,
    *given: Any,
    **named: Any,
) -> Any:
    targets, sources, others = _arguments(*given, **named)
    if not any(find(env, source) for source in sources):
        return plain(env, *given, **named)
    if len(targets) != len(sources):
        raise SCons.Errors.StopError(
            f"[PHI205] InstallAs has {len(targets)} targets and {len(sources)} sources\n"
            "  hint: give each source a target of its own"
        )
    installed = []
    nodes = _nodes(env, targets, "Entry")
    for position, source in enumerate(sources):
        path = find(env, source)
        if path is None:
            installed += plain(env, [nodes[position]], [source], **others)
        else:
            installed += copy(env, nodes[position].get_abspath(), path)
    return installed


def _arguments(target: Any = None, source: Any = None, dir: Any = None, **others: Any) -> Any:
    """Targets, sources and construction variables, as SCons' builders name and order them."""
    return _listed(dir if target is None else target), _listed(source), others


def _listed(values: Any) -> Any:
    return [] if values is None else list(SCons.Util.flatten([values]))


def _nodes(env: Any, targets: Any, kind: str) -> Any:
    """The nodes of targets, below the folder that the option --install-sandbox names."""
    env.Tool("install")  # it adds the option
    from SCons.Tool.install import DESTDIR_factory

    sandbox = SCons.Script.GetOption("install_sandbox")
    factory = DESTDIR_factory(env, sandbox) if sandbox else env.fs
    names = [str(target) if isinstance(target, Path) else target for target in targets]
    return env.arg2nodes(names, getattr(factory, kind), [])
