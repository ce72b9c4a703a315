"""Plugins: discovered through the `phibuild` entry point group, checked, sorted by their offers."""

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
from typing import Any, NamedTuple, TypeVar

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

GROUP = "phibuild"
DISABLED = "PHIBUILD_DISABLED_PLUGINS"
"""The environment variable with the names of entry points to leave out, separated by commas."""
_KINDS = ("backends", "packagers", "runtimes", "evaluators", "pythons", "natives", "commands")
_MOST_MEMORIES = 32
"""The newest are kept. Environments that share a store have different ones."""
OfferT = TypeVar("OfferT")


class Plugin(NamedTuple):
    """One entry point: `problem` says why it was skipped, empty for one that works."""

    name: str
    distribution: str
    version: str
    problem: str = ""
    is_disabled: bool = False


Loaded = tuple[Plugin, ModuleType | None]
"""A plugin with its module; None if it is disabled, or has a problem."""


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
        """All offers that become builders of the SCons tool."""
        return (*self.backends.values(), *self.packagers.values(), *self.runtimes.values())

    @property
    def disabled(self) -> str:
        """The names of the disabled plugins, for messages; empty if there are none."""
        return ", ".join(plugin.name for plugin in self.plugins if plugin.is_disabled)

    def backend_of_builder(self, builder: str) -> Backend:
        """The backend behind a builder's name; PluginError PHI503 if no plugin has it."""
        if builder not in self.backends:
            raise self._missing("backend", builder, self.backends)
        return self.backends[builder]

    def evaluator(self, format_name: str) -> Evaluator:
        """The evaluator of a format; PluginError PHI503 if no plugin has it."""
        if format_name not in self.evaluators:
            raise self._missing("evaluator", format_name, self.evaluators)
        return self.evaluators[format_name]

    def _missing(self, kind: str, name: str, known: Iterable[str]) -> PluginError:
        disabled = f"; {DISABLED} disables {self.disabled}" if self.disabled else ""
        return PluginError(
            f"no plugin offers the {kind} {name!r}",
            hint=f"there are {', '.join(sorted(known)) or 'none'}; see `phibuild plugins`"
            f"{disabled}",
        )


def describe_contents(path: Path) -> Description | None:
    """Where files and tensors lie in a package, or else the description of an artifact."""
    for packager in load_registry().packagers.values():
        with contextlib.suppress(PhiError):
            contents = packager.contents(path)
            if contents is not None:
                return contents
    return describe_artifact(path)


def describe_artifact(path: Path) -> Description | None:
    """The description by the first backend that reads tensors in a file or folder; None if no
    backend does."""
    for backend in load_registry().backends.values():
        if path.is_dir() or backend.kind == "file":
            with contextlib.suppress(PhiError):
                description = backend.describe(path)
                if description.tensors:
                    return description
    return None


@cache
def load_registry(memory: Path | None = None) -> Registry:
    """All installed plugins but the disabled ones. One that fails to import is skipped; `doctor`
    reports it.

    `memory` is a folder that keeps the names of offers while the distributions on sys.path and the
    plugins' files stay the same: a plugin is then imported when one of its offers is needed.
    Reading entry points and importing all plugins is nearly half of the time of a null build. Each
    sys.path and set of disabled plugins has a file there.
    """
    disabled = disabled_plugins()
    folders = [[folder, _distributions(folder)] for folder in sys.path]
    if memory is not None:
        key = repr((sys.path, sorted(disabled))).encode()
        memory /= f"{hashlib.sha256(key).hexdigest()[:16]}.json"
    known = _read_memory(memory) if memory is not None else {}
    is_current = known.get("folders") == folders
    if is_current and all(_time_of(path) == time for path, time in known["files"]):
        return _remembered(known["points"], known["offers"], disabled)
    points = known["points"] if is_current else _entry_points()
    loaded = [_load(point, disabled) for point in points]
    registry = sort_offers(loaded)
    if memory is not None and not any(plugin.problem for plugin in registry.plugins):
        _write_memory(memory, folders, points, loaded)
    return registry


def disabled_plugins() -> frozenset[str]:
    """The names in PHIBUILD_DISABLED_PLUGINS."""
    names = os.environ.get(DISABLED, "").split(",")
    return frozenset(name.strip() for name in names if name.strip())


def _load(point: list[str], disabled: frozenset[str]) -> Loaded:
    name, module, distribution, version = point
    plugin = Plugin(name, distribution, version, is_disabled=name in disabled)
    if plugin.is_disabled:
        return plugin, None
    try:
        return plugin, import_module(module)
    except Exception as error:  # a third-party module may fail in any way at all
        return plugin._replace(problem=f"{type(error).__name__}: {error}"), None


def _entry_points() -> list[list[str]]:
    """Name, module, distribution and version of each entry point, by name."""
    from importlib import metadata

    return sorted(
        [point.name, point.value, *((dist.name, dist.version) if dist else ("unknown", ""))]
        for point in metadata.entry_points(group=GROUP)
        for dist in [point.dist]
    )


def _read_memory(memory: Path) -> dict[str, Any]:
    """Empty if there is none or it is damaged: its first line is the sha256 of the rest."""
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
    folders: list[list[Any]],
    points: list[list[str]],
    loaded: Iterable[Loaded],
) -> None:
    """Keep the names of each plugin's offers, and the files of its package that are loaded."""
    modules = tuple(f"{module}." for _, module, *_ in points)
    files = sorted(
        (path, _time_of(path))
        for name, module in sys.modules.items()
        if f"{name}.".startswith(modules) and (path := getattr(module, "__file__", None))
    )
    offers: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
    for plugin, module in loaded:
        registry = sort_offers([(plugin, module)])
        for kind in _KINDS:
            offers[kind] |= dict.fromkeys(getattr(registry, kind), plugin.name)
    text = json.dumps({"folders": folders, "points": points, "files": files, "offers": offers})
    digest = hashlib.sha256(text.encode()).hexdigest()
    with contextlib.suppress(OSError):
        if not memory.parent.is_dir():
            memory.parent.unlink(missing_ok=True)  # damage
            memory.parent.mkdir()
        beside = memory.with_name(f"{memory.name}.{os.getpid()}")
        beside.write_text(f"{digest}\n{text}", "utf-8")
        beside.replace(memory)
        memories = sorted(memory.parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for old in memories[:-_MOST_MEMORIES]:
            old.unlink()


class _Remembered(Mapping[str, OfferT]):
    """Offers of one kind by their known names; a plugin is imported when one of its is needed."""

    def __init__(self, kind: str, owners: Mapping[str, str], load: Callable[[str], Registry]):
        self._kind, self._owners, self._load = kind, owners, load

    def __getitem__(self, name: str) -> OfferT:
        offers: Mapping[str, OfferT] = getattr(self._load(self._owners[name]), self._kind)
        return offers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._owners)

    def __len__(self) -> int:
        return len(self._owners)


def _remembered(
    points: list[list[str]], offers: Mapping[str, Mapping[str, str]], disabled: frozenset[str]
) -> Registry:
    by_name = {point[0]: point for point in points}

    @cache
    def load(name: str) -> Registry:
        registry = sort_offers([_load(by_name[name], disabled)])
        problem = registry.plugins[0].problem
        if problem:
            raise PluginError(
                f"plugin {name!r} cannot be imported: {problem}", hint="see `phibuild doctor`"
            )
        return registry

    plugins = tuple(
        Plugin(name, distribution, version, is_disabled=name in disabled)
        for name, _, distribution, version in points
    )
    return Registry(plugins, *(_Remembered(kind, offers[kind], load) for kind in _KINDS))


def _time_of(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - the hot path of a null build
    except OSError:
        return 0


def _distributions(folder: str) -> list[list[str | int]]:
    """Names and times of the metadata folders of distributions, which an installer writes anew. The
    time of `folder` itself means nothing: SCons puts the project, which changes, on sys.path."""
    try:
        with os.scandir(folder or ".") as entries:
            return sorted(
                [entry.name, entry.stat().st_mtime_ns]
                for entry in entries
                if entry.name.endswith((".dist-info", ".egg-info"))
            )
    except OSError:  # a zip file, or a folder that does not exist
        return []


def sort_offers(loaded: Iterable[Loaded]) -> Registry:
    """Check the hooks of the plugins and collect their offers.

    PluginError PHI501 for a name clash or a misspelt hook, PHI502 for another api_version; both
    name the distributions.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugins = []
    owners: dict[str, str] = {}
    for plugin, module in loaded:
        plugins.append(plugin)
        if module is not None:
            owners[plugin.name] = f"{plugin.distribution} {plugin.version}".strip()
            try:
                manager.register(module, plugin.name)
                manager.check_pending()
            except pluggy.PluginValidationError as error:
                raise PluginError(
                    f"plugin {plugin.name!r} of {owners[plugin.name]} has a wrong hook: {error}",
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
        pythons=_of_type(PythonToolchain, toolchains),
        natives=_of_type(NativeToolchain, toolchains),
        commands=_offers(manager, "phibuild_commands", owners, lambda offer: str(offer.name)),
    )


def _of_type(kind: type[OfferT], offers: Mapping[str, Any]) -> dict[str, OfferT]:
    return {name: offer for name, offer in offers.items() if isinstance(offer, kind)}


def _offers(
    manager: pluggy.PluginManager,
    hook: str,
    owners: Mapping[str, str],
    name_of: Callable[[Any], str],
) -> dict[str, Any]:
    offers: dict[str, Any] = {}
    plugin_of: dict[str, str] = {}
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        plugin = implementation.plugin_name
        for offer in implementation.function():
            if offer.api_version != API_VERSION:
                raise PluginError(
                    f"plugin {plugin!r} of {owners[plugin]} was written for api_version"
                    f" {offer.api_version}, this phibuild has {API_VERSION}",
                    hint="install versions of both that fit each other",
                    code="PHI502",
                )
            name = name_of(offer)
            if name in offers:
                raise PluginError(
                    f"{owners[plugin_of[name]]} and {owners[plugin]} both offer {name!r}"
                    f" ({hook.removeprefix('phibuild_')})",
                    hint=f"uninstall one of them, or name one in {DISABLED}",
                    code="PHI501",
                )
            offers[name] = offer
            plugin_of[name] = plugin
    return offers
