"""The SCons tool: `env = Environment(tools=[phibuild])`. The only room that imports SCons."""

import gc

# Imports leave no garbage, and looking for it would take a tenth of a build that has nothing to do.
_is_enabled = gc.isenabled()
gc.disable()
try:
    from phibuild.scons.tool import phibuild
finally:
    gc.freeze()
    if _is_enabled:
        gc.enable()

__all__ = ["phibuild"]
