"""Facts: the one list of what may change a result; key and explanation both read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from phibuild.model.digest import Digest, digest_of_value


class Fact(NamedTuple):
    """One (name, value) that may change what an action makes."""

    name: str
    value: str


Facts = tuple[Fact, ...]


class Difference(NamedTuple):
    """A fact that differs between two lists; None where a list lacks it."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name} is new: {_shown(self.after)}"
        if self.after is None:
            return f"{self.name} is gone: {_shown(self.before)}"
        return f"{self.name} changed: {_shown(self.before)} → {_shown(self.after)}"


def action_key(facts: Iterable[Fact]) -> Digest:
    """The digest of a list of facts, independent of their order."""
    return digest_of_value(sorted((fact.name, fact.value) for fact in facts))


def differences(before: Iterable[Fact], after: Iterable[Fact]) -> tuple[Difference, ...]:
    """The facts that differ, by name; empty exactly when the two action keys are equal."""
    old = {fact.name: fact.value for fact in before}
    new = {fact.name: fact.value for fact in after}
    return tuple(
        Difference(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _shown(value: str | None) -> str:
    text = value or ""
    if text.startswith("sha256:"):
        return text[7:15] + "…"
    return text if len(text) <= 60 else text[:57] + "…"
