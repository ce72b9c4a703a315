"""The tool `phibuild` for any SCons build: `scons --site-dir=$(phibuild scons-site)`, then
`env.Tool("phibuild")`.

It works in this process if Python can import phibuild, else through the `phibuild` command; the
builders have the same names and arguments. Runs on Python 3.7 and later.
"""

from __future__ import annotations

import sys
from typing import Any

# While SCons loads a tool, and only then, the tool's folder is on sys.path.
import phibuild_guest


def generate(env: Any, **_: Any) -> None:
    """Give an Environment the builders."""
    # SCons registers this file under the name of the package.
    if getattr(sys.modules.get("phibuild"), "__file__", None) == __file__:
        del sys.modules["phibuild"]
    try:
        from phibuild.scons import phibuild
    except ImportError:
        phibuild_guest.generate(env)
    else:
        phibuild(env)


def exists(env: Any) -> bool:
    """SCons calls this; `generate` reports what is missing."""
    return True
