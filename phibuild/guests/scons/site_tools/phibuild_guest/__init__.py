"""The builders where `import phibuild` is not possible: a call becomes a node here, and a line of
an SConstruct that the `phibuild` command builds.

Nothing is started while the nodes are up to date: what phibuild would look at is looked at by stat.
Python 3.7 is enough, and nothing but SCons is imported.
"""

from .builders import generate

__all__ = ["generate"]
