"""The callable tool: it gives an Environment the builders that the plugins offer."""

from __future__ import annotations

from functools import partial
from typing import Any

from SCons.Environment import Base as Environment

from phibuild.scons.builders import (
    declare_artifact,
    declare_conversion,
    declare_generation,
    declare_packaging,
    declare_runtime,
)
from phibuild.scons.models import declare_model
from phibuild.scons.session import session
from phibuild.scons.translate import read_phase


def phibuild(env: Environment, **_: Any) -> None:
    """Add `PhiModel`, `Generate`, `Artifact`, and one builder for each backend, packager and
    runtime."""
    with read_phase():
        registry = session().shop.registry
        env.AddMethod(declare_model, "PhiModel")
        env.AddMethod(declare_generation, "Generate")
        env.AddMethod(declare_artifact, "Artifact")
        for backend in registry.backends.values():
            env.AddMethod(partial(declare_conversion, backend), backend.builder)
        for packager in registry.packagers.values():
            env.AddMethod(partial(declare_packaging, packager), packager.builder)
        for runtime in registry.runtimes.values():
            env.AddMethod(partial(declare_runtime, runtime), runtime.builder)
