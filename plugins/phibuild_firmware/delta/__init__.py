"""Deltas between two files of one format, for updates over the air."""
