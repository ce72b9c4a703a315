"""The `phibuild` command: parse, call, print."""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point: the only place besides the SCons room that turns errors into text."""
    try:
        _main()
    except KeyboardInterrupt:  # click catches it while a command runs: we were still importing
        sys.exit(130)


def _main() -> None:
    from phibuild.process import ending

    ending.end_by_exception()
    from phibuild.cli.main import cli
    from phibuild.model.errors import PhiError

    try:
        cli.main(prog_name="phibuild", standalone_mode=True)
    except (PhiError, OSError) as found:
        from phibuild.engine.disk import as_phi_error

        error = found if isinstance(found, PhiError) else as_phi_error(found)
        print(f"phibuild: {error}", file=sys.stderr)
        sys.exit(2)
