"""What happens when SCons ends: folders are cleaned up, files that the command `phibuild` requested
are written, and a build ends with its summary."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from functools import cache
from pathlib import Path

from phibuild.model.errors import PhiError
from phibuild.model.sizes import show_size
from phibuild.process import ending
from phibuild.process.scons_variables import DEPFILE, STATE_FILE, WITH_SIZES
from phibuild.scons.display import say
from phibuild.scons.session import Session, session

_FAILED = 2
"""The exit status of SCons after a failed build."""


@cache
def finish_at_exit() -> None:
    """Let this process finish its session."""
    atexit.register(_finish_at_exit, session())


def _finish_at_exit(session: Session) -> None:
    with ending.status_at_exit():
        _finish(session)
    gc.freeze()  # else Python looks for garbage among all that is left, and ends anyway


def _finish(session: Session) -> None:
    say("", end="")  # what SCons printed
    if not session.is_open:
        return  # the SConstruct was not read
    if session.only_cleans:
        session.cleaning.finish(say if not session.display.silent else lambda _: None)
    state_file = os.environ.get(STATE_FILE)
    if state_file:
        from phibuild.scons.project_state import write_project_state

        write_project_state(session, Path(state_file), with_sizes=WITH_SIZES in os.environ)
    elif session.results:
        session.display.close()
        if not session.display.silent:
            from phibuild.scons.summary import print_summary

            print_summary(session)
        _keep_to_limit(session)
    depfile = os.environ.get(DEPFILE)
    if depfile:
        _write_depfile(session, Path(depfile))


def _write_depfile(session: Session, path: Path) -> None:
    from phibuild.scons.depfile import write_depfile

    try:
        write_depfile(session, path)
    except (OSError, UnicodeError) as error:
        print(f"phibuild: the depfile cannot be written: {error}", file=sys.stderr)
        raise SystemExit(_FAILED) from None


def _keep_to_limit(session: Session) -> None:
    """Collect after a build that has worked, if the store has become larger than its limit."""
    from phibuild.store.collection import collect_to_limit

    if not any(result.ran for result in session.results):
        return
    try:
        freed = collect_to_limit(session.shop.store)
    except (PhiError, OSError) as error:
        print(f"phibuild: the store could not be collected: {error}", file=sys.stderr)
        return
    if freed is not None and not session.display.silent:
        say(f"The store was larger than its limit: {show_size(freed.bytes)} freed.")
