"""Where the progress of the work is reported."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Called for each action that runs, from several threads, with a `name` for the action."""

    def started(self, name: str, *, seconds: float | None) -> None:
        """An action begins; `seconds` is what it took the last time, scaled by size, if known."""

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        """A share between 0 and 1 of the action is done; `text` says what it is doing."""

    def ended(self, name: str) -> None:
        """The action has ended or failed."""

    def noticed(self, text: str) -> None:
        """The user has to know this: one line."""


class Silent:
    """Reports nothing."""

    def started(self, name: str, *, seconds: float | None) -> None:
        pass

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        pass

    def ended(self, name: str) -> None:
        pass

    def noticed(self, text: str) -> None:
        pass
