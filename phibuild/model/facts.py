"""Facts: the one list of what may change a result; key and explanation both read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from phibuild.model.digest import Digest, digest_of_value


class Fact(NamedTuple):
    """One (name, value) that may change the result of an action."""

    name: str
    value: str


Facts = tuple[Fact, ...]
_MOST_ITEMS = 3


class Difference(NamedTuple):
    """A fact that differs between two lists; None where a list lacks it. `detail` names the change
    behind a digest, where it is known."""

    name: str
    before: str | None
    after: str | None
    detail: str = ""

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name} is new: {_shown(self.after)}"
        if self.after is None:
            return f"{self.name} is gone: {_shown(self.before)}"
        return f"{self.name} changed: {self.detail or self._shown_values()}"

    def in_detail(self, before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
        """The same with `detail`: `before` and `after` are the items behind the two digests."""
        items = differences(
            (Fact(name, value) for name, value in before.items()),
            (Fact(name, value) for name, value in after.items()),
        )
        if not items:
            return self
        text = "; ".join(f"{item.name} {item._shown_values()}" for item in items[:_MOST_ITEMS])
        more = len(items) - _MOST_ITEMS
        return self._replace(detail=f"{text} and {more} more of {len(after)}" if more > 0 else text)

    def _shown_values(self) -> str:
        before = "none" if self.before is None else _shown(self.before)
        return f"{before} → {'none' if self.after is None else _shown(self.after)}"


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
