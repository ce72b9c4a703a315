"""Who is told how the work goes."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """KnownDigest of each action that works, from several threads; `name` tells actions apart."""

    def started(self, name: str, *, seconds: float | None) -> None:
        """Work begins; `seconds` is what it took the last time, scaled by size, if known."""

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        """A share between 0 and 1 is done."""

    def ended(self, name: str) -> None:
        """The work is over, well or not."""

    def noticed(self, text: str) -> None:
        """Something happened that the user has to know of: one line."""


class Silent:
    """Tells nobody."""

    def started(self, name: str, *, seconds: float | None) -> None:
        pass

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        pass

    def ended(self, name: str) -> None:
        pass

    def noticed(self, text: str) -> None:
        pass
