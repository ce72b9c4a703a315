"""Builds the program, as the platform of a board would."""

from SCons.Script import Default, DefaultEnvironment

Default(DefaultEnvironment().BuildProgram())
