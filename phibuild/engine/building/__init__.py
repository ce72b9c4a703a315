"""Bringing targets up to date: recall a result, or run a worker and record its result."""
