"""The tiny plugin and its toolchain, for tests of toolchains."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from phibuild.engine.workshop import Workshop
from phibuild.registry import Plugin, sort_offers
from phibuild.store import Store
from tests.conftest import Project
from tests.engine.tiny_plugin import TinyPlugin


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyPlugin:
    """The plugin with version 1.0 locked; every process started from here finds it."""
    plugin = TinyPlugin(tmp_path / "plugin", tmp_path / "wheels")
    plugin.write()
    plugin.lock("1.0")
    monkeypatch.setenv("PYTHONPATH", str(plugin.folder))
    monkeypatch.setenv("PIP_FIND_LINKS", str(plugin.wheels))
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_OFFLINE", "1")
    return plugin


@pytest.fixture
def shop(project: Project, plugin: TinyPlugin, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop in this process, with the project's store."""
    monkeypatch.syspath_prepend(str(plugin.folder))
    monkeypatch.delitem(sys.modules, "tiny_plugin", raising=False)
    import tiny_plugin  # type: ignore[import-not-found]

    registry = sort_offers([(Plugin("tiny", "tiny-plugin", "1.0"), tiny_plugin)])
    monkeypatch.delitem(sys.modules, "tiny_plugin")
    return Workshop.of(Store(Path(project.environment["PHIBUILD_STORE"])), registry)
