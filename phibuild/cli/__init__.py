"""The `phibuild` command: parse, call, print."""

from __future__ import annotations

import sys

from phibuild.cli.main import cli
from phibuild.model.errors import PhiError
from phibuild.process import ending


def main() -> None:
    """The entry point: the only place besides the SCons room that turns errors into text."""
    ending.end_by_exception()
    try:
        cli.main(prog_name="phibuild", standalone_mode=True)
    except (PhiError, OSError) as found:
        from phibuild.engine.disk import as_phi_error

        error = found if isinstance(found, PhiError) else as_phi_error(found)
        print(f"phibuild: {error}", file=sys.stderr)
        sys.exit(2)
