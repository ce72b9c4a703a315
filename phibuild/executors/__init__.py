"""Where workers run."""

from phibuild.executors.local import Request, WorkOrder, run_worker

__all__ = ["Request", "WorkOrder", "run_worker"]
