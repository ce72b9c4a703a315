"""Where workers run."""

from phibuild.executors.local import WorkOrder, run_worker

__all__ = ["WorkOrder", "run_worker"]
