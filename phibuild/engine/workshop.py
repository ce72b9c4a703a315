"""The workshop: what a process builds with, as one value."""

from __future__ import annotations

from typing import NamedTuple

from phibuild.engine.placing.artifacts import Artifacts
from phibuild.engine.plans import Plans
from phibuild.engine.reading.sources import Sources
from phibuild.engine.reporter import Reporter, Silent
from phibuild.engine.workers.toolchains import Toolchains
from phibuild.registry import Registry, load_registry
from phibuild.store import Store, store_root


class Workshop(NamedTuple):
    """The store and the plugins; what does the work, what is read, what lies in place, and what
    this build still has to build."""

    store: Store
    registry: Registry
    reporter: Reporter
    toolchains: Toolchains
    sources: Sources
    artifacts: Artifacts
    plans: Plans

    @classmethod
    def open(cls, reporter: Reporter | None = None) -> Workshop:
        """The workshop of this user, with the installed plugins."""
        store = Store(store_root())
        return cls.of(store, load_registry(store.root / "plugins"), reporter)

    @classmethod
    def of(cls, store: Store, registry: Registry, reporter: Reporter | None = None) -> Workshop:
        """The workshop of a store and a set of plugins."""
        reporter = reporter or Silent()
        artifacts = Artifacts(store)
        sources = Sources(artifacts, reporter)
        toolchains = Toolchains(store, registry, sources, reporter)
        return cls(store, registry, reporter, toolchains, sources, artifacts, Plans(sources))
