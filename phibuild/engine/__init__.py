"""Deciding whether to work, and working: facts, keys, recall, realize, plan, explain."""

from phibuild.engine.declaration import Declaration, ModelRef
from phibuild.engine.describe import Described, describe
from phibuild.engine.realize import Made, Outcome, realize_target
from phibuild.engine.reporter import Reporter, Silent
from phibuild.engine.workshop import Workshop

__all__ = [
    "Declaration",
    "Described",
    "Made",
    "ModelRef",
    "Outcome",
    "Reporter",
    "Silent",
    "Workshop",
    "describe",
    "realize_target",
]
