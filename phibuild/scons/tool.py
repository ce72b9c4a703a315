"""The callable tool: it gives an Environment the builders that the plugins offer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import SCons.Defaults
from SCons.Environment import Base as Environment

from phibuild.registry import DISABLED
from phibuild.scons.archiving import add_archiver
from phibuild.scons.builders import (
    declare_artifact,
    declare_conversion,
    declare_generation,
    declare_packaging,
    declare_runtime,
)
from phibuild.scons.finishing import finish_at_exit
from phibuild.scons.installing import add_installers
from phibuild.scons.models import declare_model
from phibuild.scons.session import session
from phibuild.scons.translate import read_phase


def phibuild(env: Environment, **_: Any) -> None:
    """Add `PhiModel`, `Generate`, `Artifact`, and one builder for each backend, packager and
    runtime; `Install`, `InstallAs` and `Zip` accept artifacts from here on."""
    with read_phase():
        finish_at_exit()
        registry = session().shop.registry
        env.AddMethod(declare_model, "PhiModel")
        env.AddMethod(declare_generation, "Generate")
        env.AddMethod(declare_artifact, "Artifact")
        for offers, declare in (
            (registry.backends, declare_conversion),
            (registry.packagers, declare_packaging),
            (registry.runtimes, declare_runtime),
        ):
            for builder in offers:
                env.AddMethod(partial(_declare_by, declare, offers, builder), builder)
        if registry.disabled:
            _explain_missing_builders(env, registry.disabled)
        # Global functions such as Install() are methods of the default environment. It is not
        # created for this, which would look for compilers.
        default = getattr(SCons.Defaults, "_default_env", None)
        for environment in (env,) if default is None or default is env else (env, default):
            add_installers(environment)
            add_archiver(environment)


def _explain_missing_builders(env: Environment, disabled: str) -> None:
    """Let SCons' error for an unknown builder name the disabled plugins, which may offer it."""

    def missing(_: Environment, name: str) -> Any:
        raise AttributeError(
            f"Builder or other environment method {name!r} not found.\n"
            f"{DISABLED} disables these plugins: {disabled}"
        )

    kind = type(env)
    env.__class__ = type(kind.__name__, (kind,), {"__getattr__": missing})


def _declare_by(
    declare: Callable[..., Any],
    offers: Mapping[str, Any],
    builder: str,
    /,
    *arguments: Any,
    **keywords: Any,
) -> Any:
    """Call a builder, whose plugin may be loaded for it."""
    with read_phase():
        offer = offers[builder]
    return declare(offer, *arguments, **keywords)
