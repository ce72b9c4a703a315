"""The builders for a Python that cannot import phibuild: a call becomes a node here, and a line of
an SConstruct that the `phibuild` command builds.

No process is started while the nodes are up to date, which stat decides. Runs on Python 3.7 and
later, and imports nothing but SCons.
"""

from .builders import generate

__all__ = ["generate"]
