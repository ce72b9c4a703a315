"""Replaces the build system of the pinned source distribution, and has its name."""
