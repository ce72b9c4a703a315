"""Plugins: found through the `phibuild` entry point group, checked, sorted by what they offer."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pluggy

from phibuild import hookspecs
from phibuild.model.errors import PhiError, PluginError
from phibuild.offers import (
    API_VERSION,
    Backend,
    Command,
    Description,
    Evaluator,
    NativeToolchain,
    Packager,
    PythonToolchain,
    Runtime,
)

if TYPE_CHECKING:
    from importlib import metadata

GROUP = "phibuild"
OfferT = TypeVar("OfferT")


class Plugin(NamedTuple):
    """One entry point: `problem` says why it was skipped, empty for one that works."""

    name: str
    distribution: str
    version: str
    problem: str = ""


class Registry(NamedTuple):
    """What the plugins offer, by the name that a user or another offer refers to it with."""

    plugins: tuple[Plugin, ...]
    backends: Mapping[str, Backend]
    packagers: Mapping[str, Packager]
    runtimes: Mapping[str, Runtime]
    evaluators: Mapping[str, Evaluator]
    pythons: Mapping[str, PythonToolchain]
    natives: Mapping[str, NativeToolchain]
    commands: Mapping[str, Command]

    @property
    def builders(self) -> tuple[Backend | Packager | Runtime, ...]:
        """All that become builders of the SCons tool by a recipe."""
        return (*self.backends.values(), *self.packagers.values(), *self.runtimes.values())

    def backend_of_builder(self, builder: str) -> Backend:
        """The backend behind a builder's name; PluginError PHI503 if no plugin has it."""
        for backend in self.backends.values():
            if backend.builder == builder:
                return backend
        raise _missing("backend", builder, [backend.builder for backend in self.backends.values()])

    def evaluator(self, format_name: str) -> Evaluator:
        """The evaluator of a format; PluginError PHI503 if no plugin has it."""
        if format_name not in self.evaluators:
            raise _missing("evaluator", format_name, self.evaluators)
        return self.evaluators[format_name]


def describe_artifact(path: Path) -> Description | None:
    """What the first backend that finds tensors in a file or folder says; None if none does."""
    for backend in load_registry().backends.values():
        if path.is_dir() or backend.kind == "file":
            with contextlib.suppress(PhiError):
                description = backend.describe(path)
                if description.tensors:
                    return description
    return None


@cache
def load_registry(memory: Path | None = None) -> Registry:
    """Load all installed plugins. One that fails to import is skipped and reported by `doctor`.

    `memory` is a file that keeps the list of entry points while the distributions on sys.path stay
    the same: importlib.metadata takes a third of the time of a build that has nothing to do.
    """
    found: list[tuple[str, str, str, ModuleType | str]] = []
    for name, module, distribution, version in _entry_points(memory):
        try:
            found.append((name, distribution, version, import_module(module)))
        except Exception as error:  # a stranger's module may fail in any way at all
            found.append((name, distribution, version, f"{type(error).__name__}: {error}"))
    return sort_offers(found)


def _entry_points(memory: Path | None) -> list[list[str]]:
    """Name, module, distribution and version of each entry point, by name."""
    places = [[place, _distributions(place)] for place in sys.path]
    if memory is not None:
        try:
            known = json.loads(memory.read_text("utf-8"))
            if known["places"] == places:
                return list(known["points"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # it is only a memory: what it does not say is found again
    from importlib import metadata

    points = sorted(
        [point.name, point.value, *_distribution(point.dist)]
        for point in metadata.entry_points(group=GROUP)
    )
    if memory is not None:
        with contextlib.suppress(OSError):
            beside = memory.with_name(f"{memory.name}.{os.getpid()}")
            beside.write_text(json.dumps({"places": places, "points": points}), "utf-8")
            beside.replace(memory)
    return points


def _distributions(place: str) -> list[list[str | int]]:
    """Names and times of the folders by which distributions are known; an installer makes them
    anew. The folder's own time says nothing: SCons puts the project, which changes, on sys.path."""
    try:
        with os.scandir(place or ".") as entries:
            return sorted(
                [entry.name, entry.stat().st_mtime_ns]
                for entry in entries
                if entry.name.endswith((".dist-info", ".egg-info"))
            )
    except OSError:  # a zip file, or a folder that is not there
        return []


def _distribution(found: metadata.Distribution | None) -> tuple[str, str]:
    return (found.name, found.version) if found is not None else ("unknown", "")


def sort_offers(found: Iterable[tuple[str, str, str, ModuleType | str]]) -> Registry:
    """Check the hooks of (name, distribution, version, module or problem) and collect the offers.

    PluginError PHI501 for a name clash or a misspelt hook, PHI502 for another api_version; both
    name the distributions.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugins = []
    owners: dict[str, str] = {}
    for name, distribution, version, module in found:
        problem = module if isinstance(module, str) else ""
        plugins.append(Plugin(name, distribution, version, problem))
        if not isinstance(module, str):
            owners[name] = f"{distribution} {version}".strip()
            try:
                manager.register(module, name)
                manager.check_pending()
            except pluggy.PluginValidationError as error:
                raise PluginError(
                    f"plugin {name!r} of {owners[name]} has a wrong hook: {error}",
                    hint="the hooks are listed in docs/reference/hooks.md",
                    code="PHI501",
                ) from None
    toolchains = _offers(manager, "phibuild_toolchains", owners, lambda offer: str(offer.name))
    return Registry(
        plugins=tuple(plugins),
        backends=_offers(manager, "phibuild_backends", owners, lambda offer: str(offer.builder)),
        packagers=_offers(manager, "phibuild_packagers", owners, lambda offer: str(offer.builder)),
        runtimes=_offers(manager, "phibuild_runtimes", owners, lambda offer: str(offer.builder)),
        evaluators=_offers(manager, "phibuild_evaluators", owners, lambda offer: str(offer.format)),
        pythons={n: one for n, one in toolchains.items() if isinstance(one, PythonToolchain)},
        natives={n: one for n, one in toolchains.items() if isinstance(one, NativeToolchain)},
        commands=_offers(manager, "phibuild_commands", owners, lambda offer: str(offer.name)),
    )


def _offers(
    manager: pluggy.PluginManager,
    hook: str,
    owners: Mapping[str, str],
    name_of: Callable[[Any], str],
) -> dict[str, Any]:
    offers: dict[str, Any] = {}
    taken: dict[str, str] = {}
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        plugin = implementation.plugin_name
        for offer in implementation.function():
            if offer.api_version != API_VERSION:
                raise PluginError(
                    f"plugin {plugin!r} of {owners[plugin]} was made for api_version"
                    f" {offer.api_version}, this phibuild has {API_VERSION}",
                    hint="install versions of both that fit each other",
                    code="PHI502",
                )
            name = name_of(offer)
            if name in offers:
                raise PluginError(
                    f"{owners[taken[name]]} and {owners[plugin]} both offer {name!r}"
                    f" ({hook.removeprefix('phibuild_')})",
                    hint="uninstall one of them",
                    code="PHI501",
                )
            offers[name] = offer
            taken[name] = plugin
    return offers


def _missing(kind: str, name: str, known: Iterable[str]) -> PluginError:
    return PluginError(
        f"no plugin offers the {kind} {name!r}",
        hint=f"there are {', '.join(sorted(known)) or 'none'}; see `phibuild plugins`",
    )
