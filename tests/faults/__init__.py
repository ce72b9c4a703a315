"""Faults, counted: builds that are killed, starved, disturbed and lied to, and what became of them.

`python -m tests.faults` runs all trials and prints the table; the tests run a tenth of each."""
