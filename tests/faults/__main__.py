"""`python -m tests.faults [--share S] [NAME ...]`: run trials and print the table."""

from __future__ import annotations

import sys

import click

from tests.faults.counting import VERDICTS, numbers_of, run_trials
from tests.faults.scenarios import SCENARIOS


@click.command()
@click.option("--share", default=1.0, help="The share of all trials to run.")
@click.option("--number", type=int, help="Run the one trial of this number.")
@click.argument("names", nargs=-1)
def main(share: float, number: int | None, names: tuple[str, ...]) -> None:
    """Run the trials of the scenarios whose names contain one of NAMES, or of all."""
    chosen = {
        name: scenario
        for name, scenario in SCENARIOS.items()
        if not names or any(part in name for part in names)
    }
    totals = dict.fromkeys(VERDICTS, 0)
    click.echo(
        f"{'scenario':<32} {'trials':>6} " + " ".join(f"{verdict:>8}" for verdict in VERDICTS)
    )
    for name, scenario in chosen.items():
        numbers = numbers_of(scenario, share) if number is None else [number]
        count = run_trials(name, scenario, numbers, lambda: None)
        for verdict in VERDICTS:
            totals[verdict] += count.ended[verdict]
        figures = " ".join(f"{count.ended[verdict]:>8}" for verdict in VERDICTS)
        click.echo(f"{name:<32} {len(numbers):>6} {figures}")
        for report in count.reports:
            click.echo(f"  {report}", err=True)
    figures = " ".join(f"{totals[verdict]:>8}" for verdict in VERDICTS)
    click.echo(f"{'all':<32} {sum(totals.values()):>6} {figures}")
    sys.exit(totals["lost"] + totals["wrong"] > 0)


if __name__ == "__main__":
    main()
