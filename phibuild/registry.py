"""Plugins: found through the `phibuild` entry point group, checked, sorted by what they offer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
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
_KINDS = ("backends", "packagers", "runtimes", "evaluators", "pythons", "natives", "commands")
_MOST = 32
"""Memories that are kept, the newest: projects have different ones where they are on sys.path."""
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
        if builder not in self.backends:
            raise _missing("backend", builder, self.backends)
        return self.backends[builder]

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
    """All installed plugins. One that fails to import is skipped and reported by `doctor`.

    `memory` is a folder that keeps what they offer, by name, while the distributions on sys.path
    and the plugins' files stay the same: then a plugin is loaded when one of its offers is asked
    for. Looking for entry points and importing all plugins takes nearly half of the time of a build
    that has nothing to do. Each sys.path has a file there: environments share a store.
    """
    places = [[place, _distributions(place)] for place in sys.path]
    if memory is not None:
        memory /= f"{hashlib.sha256(repr(sys.path).encode()).hexdigest()[:16]}.json"
    known = _read_memory(memory) if memory is not None else {}
    is_current = known.get("places") == places
    if is_current and all(_time_of(path) == time for path, time in known["files"]):
        return _remembered(known["points"], known["offers"])
    points = known["points"] if is_current else _entry_points()
    found = [_imported(*point) for point in points]
    registry = sort_offers(found)
    if memory is not None and not any(plugin.problem for plugin in registry.plugins):
        _write_memory(memory, places, points, found)
    return registry


def _imported(
    name: str, module: str, distribution: str, version: str
) -> tuple[str, str, str, ModuleType | str]:
    try:
        return name, distribution, version, import_module(module)
    except Exception as error:  # a stranger's module may fail in any way at all
        return name, distribution, version, f"{type(error).__name__}: {error}"


def _entry_points() -> list[list[str]]:
    """Name, module, distribution and version of each entry point, by name."""
    from importlib import metadata

    return sorted(
        [point.name, point.value, *_distribution(point.dist)]
        for point in metadata.entry_points(group=GROUP)
    )


def _read_memory(memory: Path) -> dict[str, Any]:
    """It is only a memory: what it does not say is found again. Its first line is the sha256 of the
    rest, so that damage is not believed."""
    try:
        digest, _, text = memory.read_bytes().partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() == digest:
            known: dict[str, Any] = json.loads(text)
            return known
    except OSError:
        pass
    return {}


def _write_memory(
    memory: Path,
    places: list[list[Any]],
    points: list[list[str]],
    found: Iterable[tuple[str, str, str, ModuleType | str]],
) -> None:
    """Keep the names of each plugin's offers, and the files of its package that are loaded."""
    modules = tuple(f"{module}." for _, module, *_ in points)
    files = sorted(
        (path, _time_of(path))
        for name, module in sys.modules.items()
        if f"{name}.".startswith(modules) and (path := getattr(module, "__file__", None))
    )
    offers: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
    for one in found:
        own = sort_offers([one])
        for kind in _KINDS:
            offers[kind] |= dict.fromkeys(getattr(own, kind), one[0])
    text = json.dumps({"places": places, "points": points, "files": files, "offers": offers})
    digest = hashlib.sha256(text.encode()).hexdigest()
    with contextlib.suppress(OSError):
        if not memory.parent.is_dir():
            memory.parent.unlink(missing_ok=True)  # damage
            memory.parent.mkdir()
        beside = memory.with_name(f"{memory.name}.{os.getpid()}")
        beside.write_text(f"{digest}\n{text}", "utf-8")
        beside.replace(memory)
        for old in sorted(memory.parent.iterdir(), key=lambda one: one.stat().st_mtime)[:-_MOST]:
            old.unlink()


class _Remembered(Mapping[str, OfferT]):
    """Offers of one kind whose names are known; their plugin is loaded when one is asked for."""

    def __init__(self, kind: str, owners: Mapping[str, str], load: Callable[[str], Registry]):
        self._kind, self._owners, self._load = kind, owners, load

    def __getitem__(self, name: str) -> OfferT:
        offers: Mapping[str, OfferT] = getattr(self._load(self._owners[name]), self._kind)
        return offers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._owners)

    def __len__(self) -> int:
        return len(self._owners)


def _remembered(points: list[list[str]], offers: Mapping[str, Mapping[str, str]]) -> Registry:
    named = {point[0]: point for point in points}

    @cache
    def load(plugin: str) -> Registry:
        registry = sort_offers([_imported(*named[plugin])])
        problem = registry.plugins[0].problem
        if problem:
            raise PluginError(
                f"plugin {plugin!r} cannot be imported: {problem}", hint="see `phibuild doctor`"
            )
        return registry

    plugins = tuple(Plugin(name, *rest) for name, _, *rest in points)
    return Registry(plugins, *(_Remembered(kind, offers[kind], load) for kind in _KINDS))


def _time_of(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - the hot path of a null build
    except OSError:
        return 0


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
