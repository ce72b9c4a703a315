"""The SCons tool: `env = Environment(tools=[phibuild])`. The only room that imports SCons."""

from phibuild.scons.tool import phibuild

__all__ = ["phibuild"]
