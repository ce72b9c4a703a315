"""A tenth of the trials; `python -m tests.faults` runs all of them."""

from __future__ import annotations

import pytest

from tests.faults.counting import numbers_of, run_trials
from tests.faults.scenarios import SCENARIOS

SHARE = 0.1


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_or_wrong(name: str) -> None:
    scenario = SCENARIOS[name]
    count = run_trials(name, scenario, numbers_of(scenario, SHARE), lambda: None)
    assert not count.reports
