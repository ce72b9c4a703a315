"""Fuzzing of the readers of foreign bytes; `./run python -m tests.fuzz --help`."""
