"""Replaces RT-Thread's tools/building.py (5.3.0), with the same behaviour for packages.

Groups are sources with settings. A group's settings apply to all groups, except those named LOCAL_,
and folders in CPPPATH become absolute by os.path.abspath.
"""

import os

from SCons.Script import File, SConscript

Env = None
Groups = []
Options = {}


def PrepareBuilding(env, options):
    """Read all groups; `options` are what RT-Thread reads from rtconfig.h."""
    global Env
    Env = env
    Options.update(options)
    kernel = SConscript("kernel/SConscript", variant_dir="build/kernel", duplicate=0)
    packages = SConscript("packages/phi/SConscript", variant_dir="build/phi", duplicate=0)
    return kernel + packages


def GetDepend(depend):
    """Whether all of these options are set."""
    names = [depend] if isinstance(depend, str) else depend
    return all(not name or Options.get(name) for name in names)


def DefineGroup(name, src, depend, **settings):
    """The sources, if the options that they depend on are set."""
    if not GetDepend(depend):
        return []
    for key in ("CPPPATH", "LOCAL_CPPPATH"):
        if key in settings:
            settings[key] = [os.path.abspath(path) for path in settings[key]]  # noqa: PTH100
    shared = {key: value for key, value in settings.items() if not key.startswith("LOCAL_")}
    Env.AppendUnique(**shared)
    sources = File(src)
    Groups.append((sources, settings))
    return sources


def DoBuilding(target, objects):
    """Compile and link everything, with local settings for the groups that have them."""
    for sources, settings in Groups:
        local = {key[6:]: value for key, value in settings.items() if key.startswith("LOCAL_")}
        if local:
            merged = {key: Env.get(key, []) + value for key, value in local.items()}
            objects = [source for source in objects if source not in sources]
            objects += [Env.Object(source, **merged) for source in sources]
    return Env.Program(target, objects)
