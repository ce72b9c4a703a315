"""The hooks: a plugin implements any of them with `phibuild.api.hookimpl`."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from phibuild.offers import (
    Backend,
    Command,
    Evaluator,
    NativeToolchain,
    Packager,
    PythonToolchain,
    Runtime,
)

hookspec = pluggy.HookspecMarker("phibuild")
hookimpl = pluggy.HookimplMarker("phibuild")


@hookspec
def phibuild_backends() -> Iterable[Backend]:
    """Backends, which build artifacts. Each becomes a builder of the SCons tool."""
    raise NotImplementedError


@hookspec
def phibuild_packagers() -> Iterable[Packager]:
    """Packagers, which wrap artifacts for a device. Each becomes a builder of the SCons tool."""
    raise NotImplementedError


@hookspec
def phibuild_runtimes() -> Iterable[Runtime]:
    """Runtimes, which build the programs that run artifacts on a device. Each becomes a builder of
    the SCons tool."""
    raise NotImplementedError


@hookspec
def phibuild_evaluators() -> Iterable[Evaluator]:
    """Evaluators, which run artifacts in their own runtimes."""
    raise NotImplementedError


@hookspec
def phibuild_toolchains() -> Iterable[PythonToolchain | NativeToolchain]:
    """Toolchains: interpreters with locked packages, and programs built from source."""
    raise NotImplementedError


@hookspec
def phibuild_commands() -> Iterable[Command]:
    """Further subcommands of the `phibuild` command."""
    raise NotImplementedError
