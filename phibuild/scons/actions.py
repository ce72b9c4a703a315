"""What SCons executes for a target."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import SCons.Errors
from SCons.Script import Action, GetOption

from phibuild.model.errors import PhiError
from phibuild.scons.session import session


@cache
def target_action() -> Any:
    """The one action of all targets: SCons digests the functions' code for each action that is made
    of them."""
    return Action(build_target, dry_run_text, varlist=["PHIBUILD_SIGNATURE"])


def build_target(target: Any, source: Any, env: Any) -> None:
    """Bring a target up to date, and report it."""
    # A build with nothing to do needs none of what this imports.
    from phibuild.engine.building.realize import realize_target
    from phibuild.engine.disk import as_phi_error
    from phibuild.scons.recorded import check_sources, digest_sources

    current = session()
    declaration = current.declarations[env["PHIBUILD_TARGET"]]
    try:
        current.begin()
        digest_sources(source)
        result = realize_target(current.shop, declaration)
        check_sources(current, declaration, source, signature=env["PHIBUILD_SIGNATURE"])
    except (PhiError, OSError) as error:
        phi_error = error if isinstance(error, PhiError) else as_phi_error(error)
        if phi_error.code == "PHI406":  # SCons replaces what we raise by "Build interrupted."
            print(phi_error, file=sys.stderr)
        raise SCons.Errors.BuildError(node=target[0], errstr=str(phi_error)) from None
    current.finished(result)


def dry_run_text(target: Any, source: Any, env: Any) -> str:
    """What `scons -n` prints; a real build reports its progress itself."""
    if not GetOption("no_exec"):
        return ""
    declaration = session().declarations[env["PHIBUILD_TARGET"]]
    from phibuild.model.text import printable  # a real build does not come here

    return printable(f"make {declaration.name} ({declaration.format} {declaration.label})")
