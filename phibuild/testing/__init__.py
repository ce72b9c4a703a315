"""For tests, ours and a plugin author's: the contract of a backend, checkpoints, a project."""

from phibuild.testing.contract import BackendContract

__all__ = ["BackendContract"]
