"""SCons' `Install` and `InstallAs` for artifacts.

SCons installs a file or folder node, and an artifact is neither. So an installed artifact is an
artifact too: it has a manifest, is rebuilt when the bytes change, recalled, and cleaned. SCons
installs everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import SCons.Script
import SCons.Util

from phibuild.model.action import HOST, Action, FileInput
from phibuild.model.errors import RecipeError
from phibuild.scons.builders import declare_action
from phibuild.scons.translate import artifact_path, find, listed, read_phase

_WORKER = Path(__file__).parents[1] / "worker" / "install.py"


def add_installers(env: Any) -> None:
    """Let `Install` and `InstallAs` of this environment accept artifacts."""
    for name, install in (("Install", _install), ("InstallAs", _install_as)):
        plain = getattr(env, name).method
        env.AddMethod(partial(install, plain), name)


def _install(plain: Callable[..., Any], env: Any, *given: Any, **named: Any) -> list[Any]:
    """`Install(folder, sources)`, also with `dir=` for the folder."""
    folders, sources, others = _arguments(*given, **named)
    if not any(artifact_path(env, source) for source in sources):
        return list(plain(env, *given, **named))
    with read_phase():
        installed = []
        for folder in _nodes(env, folders, "Dir"):
            for source in sources:
                path = artifact_path(env, source)
                if path is None:
                    installed += plain(env, folder, [source], **others)
                else:
                    installed += _copy(env, Path(folder.get_abspath()) / path.name, path)
        return installed


def _install_as(plain: Callable[..., Any], env: Any, *given: Any, **named: Any) -> list[Any]:
    """`InstallAs(targets, sources)`, one target for each source."""
    targets, sources, others = _arguments(*given, **named)
    if not any(artifact_path(env, source) for source in sources):
        return list(plain(env, *given, **named))
    with read_phase():
        if len(targets) != len(sources):
            raise RecipeError(
                f"InstallAs has {len(targets)} targets and {len(sources)} sources",
                hint="give each source a target of its own",
                code="PHI205",
            )
        installed = []
        for target, source in zip(_nodes(env, targets, "Entry"), sources, strict=True):
            path = artifact_path(env, source)
            if path is None:
                installed += plain(env, [target], [source], **others)
            else:
                installed += _copy(env, Path(target.get_abspath()), path)
        return installed


def _arguments(
    target: Any = None, source: Any = None, dir: Any = None, **others: Any
) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Targets, sources and construction variables, as SCons' builders name and order them."""
    targets = target if target is not None else dir
    return listed(targets), listed(source), others


def _nodes(env: Any, targets: list[Any], kind: str) -> list[Any]:
    """The nodes of targets, below the folder that the option --install-sandbox names."""
    env.Tool("install")  # it adds the option
    from SCons.Tool.install import DESTDIR_factory

    sandbox = SCons.Script.GetOption("install_sandbox")
    factory = DESTDIR_factory(env, sandbox) if sandbox else env.fs
    names = [str(target) if isinstance(target, Path) else target for target in targets]
    try:
        return list(env.arg2nodes(names, getattr(factory, kind), []))
    except TypeError:
        raise RecipeError(
            f"Install needs a folder, and {targets[0]} is a file",
            hint="the folder comes first; InstallAs takes the path of a file",
            code="PHI205",
        ) from None


def _copy(env: Any, target: Path, artifact: Path) -> Any:
    action = Action(
        "install", _WORKER, toolchain=HOST, inputs=(("artifact", FileInput(str(artifact))),)
    )
    return declare_action(env, target, action, [find(env, artifact)], label="installed")
