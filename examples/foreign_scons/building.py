"""What a system such as RT-Thread gives its SConscripts: groups of sources."""

from SCons.Script import File, Flatten


def DefineGroup(env, name, src, **settings):
    """Objects of C and assembler sources, and what else is linked, compiled with the settings."""
    group = env.Clone()
    group.Append(**settings)
    compiled = [one for one in Flatten(src) if not str(one).endswith(".ld")]
    objects = [group.Object(one) for one in compiled]
    return objects + [File(one) for one in Flatten(src) if str(one).endswith(".ld")]
