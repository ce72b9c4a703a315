"""Checkpoints that are wrong or look wrong, as users' training and tools write them."""

from tests.backends.faults.configs import CONFIGS
from tests.backends.faults.fault import FORMATS, Fault
from tests.backends.faults.files import FILES
from tests.backends.faults.layouts import LAYOUTS
from tests.backends.faults.values import VALUES

FAULTS = [*CONFIGS, *LAYOUTS, *VALUES, *FILES]

__all__ = ["FAULTS", "FORMATS", "Fault"]
