"""Plans: each declaration is checked and planned once, and what this build still has to build."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

from phibuild.engine.declaration import Declaration, model_facts
from phibuild.engine.reading.sources import Sources
from phibuild.model.action import Step
from phibuild.model.digest import Digest
from phibuild.offers import ModelFacts
from phibuild.source import Checkpoint


class Plan(NamedTuple):
    """A declaration, the checkpoint that it was planned with (None without a model, or while the
    model does not exist yet), what the plan knows of it, and the step that makes the artifact."""

    declaration: Declaration
    checkpoint: Checkpoint | None
    model: ModelFacts
    step: Step


class Plans:
    """The plans of this process. `pending` are the targets that this build has yet to bring up to
    date, `built_ahead` the seconds spent on results that were built along with those of another
    target, by key."""

    def __init__(self, sources: Sources) -> None:
        self.pending: dict[Path, Declaration] = {}
        self.built_ahead: dict[Digest, float] = {}
        self._sources = sources
        self._plans: dict[Path, Plan] = {}
        self._models: dict[Path, tuple[Checkpoint, ModelFacts]] = {}
        self._guard = threading.Lock()

    def of(self, declaration: Declaration) -> Plan:
        """The plan for the checkpoint as it is now."""
        model = declaration.model
        checkpoint = self._sources.checkpoint(model.folder) if model is not None else None
        return self.with_checkpoint(declaration, checkpoint)

    def with_checkpoint(self, declaration: Declaration, checkpoint: Checkpoint | None) -> Plan:
        """The plan for this checkpoint. It is made again only if what plans may know of the
        checkpoint has changed."""
        with self._guard:
            plan = self._plans.get(declaration.target)
            if plan is None or plan.declaration is not declaration:
                plan = plan_with(declaration, checkpoint, self._facts(checkpoint))
            elif plan.checkpoint is not checkpoint:
                facts = self._facts(checkpoint)
                if facts == plan.model:
                    plan = plan._replace(checkpoint=checkpoint)
                else:
                    plan = plan_with(declaration, checkpoint, facts)
            self._plans[declaration.target] = plan
            return plan

    def _facts(self, checkpoint: Checkpoint | None) -> ModelFacts:
        """Those of the last checkpoint that was read from the folder."""
        if checkpoint is None:
            return model_facts(None)
        known = self._models.get(checkpoint.folder)
        if known is None or known[0] is not checkpoint:
            known = self._models[checkpoint.folder] = (checkpoint, model_facts(checkpoint))
        return known[1]


def plan_with(declaration: Declaration, checkpoint: Checkpoint | None, model: ModelFacts) -> Plan:
    """Check and plan; nothing is remembered."""
    return Plan(declaration, checkpoint, model, declaration.plan(model))
