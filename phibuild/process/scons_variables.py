"""The environment variables by which the command `phibuild` says what the SCons that it starts has
to write."""

STATE_FILE = "PHIBUILD_DESCRIBE"
"""Names the file for the state of all targets, as JSON; set for a run that builds nothing."""
WITH_SIZES = "PHIBUILD_DESCRIBE_SIZES"
"""Set if that file has to include the expected sizes of artifacts."""
DEPFILE = "PHIBUILD_DEPFILE"
"""Names the file for the paths that the targets of a build were made from, as a depfile."""
DEPFILE_FROM = "PHIBUILD_DEPFILE_FROM"
"""The folder that the names of targets in the depfile are relative to."""
DEPFILE_TARGET = "PHIBUILD_DEPFILE_TARGET"
"""The one name that the depfile has for all targets, where another build has its own name."""
