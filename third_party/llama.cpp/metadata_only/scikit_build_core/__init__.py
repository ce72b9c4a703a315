"""Stands in for the build system of the pinned source distribution, whose name it must bear."""
