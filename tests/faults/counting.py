"""Runs scenarios and counts what became of their trials."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.faults.scenarios import Scenario
from tests.faults.trial import Trial, Verdict

VERDICTS = ("survived", "lost", "wrong", "ugly")


class Count(NamedTuple):
    """How many trials ended how, and what was wrong with each that did not survive."""

    ended: Counter[str]
    reports: Sequence[str]


def run_trials(
    name: str, scenario: Scenario, numbers: Sequence[int], on_trial: Callable[[], None]
) -> Count:
    """Run the trials of these numbers, each in a folder of its own that is removed afterwards."""
    ended: Counter[str] = Counter()
    reports = []
    for number in numbers:
        folder = Path(tempfile.mkdtemp(prefix="phibuild-trial-"))
        try:
            scenario.run(Trial(folder, name, number))
            ended["survived"] += 1
        except Verdict as verdict:
            ended[type(verdict).__name__.lower()] += 1
            reports.append(f"{name}, trial {number}: {type(verdict).__name__}: {verdict}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        on_trial()
    return Count(ended, reports)


def numbers_of(scenario: Scenario, share: float) -> list[int]:
    """Trials spread evenly over those of a full run."""
    count = max(1, round(scenario.trials * share))
    return sorted({position * scenario.trials // count for position in range(count)})
