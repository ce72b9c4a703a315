"""Checkpoints that went wrong, or look as if they had: what users' training and tools left."""

from tests.backends.faults.configs import CONFIGS
from tests.backends.faults.fault import FORMATS, Fault
from tests.backends.faults.files import FILES
from tests.backends.faults.layouts import LAYOUTS
from tests.backends.faults.values import VALUES

FAULTS = [*CONFIGS, *LAYOUTS, *VALUES, *FILES]

__all__ = ["FAULTS", "FORMATS", "Fault"]
