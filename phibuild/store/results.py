"""An action result: the output of an action, its facts, and its cost."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from phibuild.model.digest import Digest
from phibuild.model.facts import Fact, Facts
from phibuild.model.parsing import parse_json
from phibuild.model.tree import Tree

FORMAT = "phibuild-result/1"


class ActionResult(NamedTuple):
    """The record behind an action key. `inputs` are the keys of the actions whose results it read;
    wall time in seconds, peak resident memory in bytes, `finished` an ISO 8601 time in UTC."""

    key: Digest
    action: str
    facts: Facts
    inputs: tuple[tuple[str, Digest], ...]
    tree: Tree
    seconds: float
    peak_bytes: int
    finished: str
    maker: str

    def to_text(self) -> str:
        """JSON, one record."""
        return json.dumps(
            {
                "result": FORMAT,
                "key": str(self.key),
                "action": self.action,
                "facts": [[fact.name, fact.value] for fact in self.facts],
                "inputs": {name: str(key) for name, key in self.inputs},
                "tree": self.tree.as_json(),
                "seconds": self.seconds,
                "peak_bytes": self.peak_bytes,
                "finished": self.finished,
                "maker": self.maker,
            },
            indent=1,
        )

    @classmethod
    def from_text(cls, text: str) -> ActionResult:
        """The inverse; ValueError for anything else."""
        document = parse_json(text)
        try:
            if document["result"] != FORMAT:
                raise ValueError(f"{document['result']!r} is not {FORMAT!r}")
            return cls(
                key=Digest.parse(document["key"]),
                action=_text(document["action"]),
                facts=tuple(Fact(_text(name), _text(value)) for name, value in document["facts"]),
                inputs=tuple((name, Digest.parse(key)) for name, key in document["inputs"].items()),
                tree=Tree.from_json(document["tree"]),
                seconds=float(document["seconds"]),
                peak_bytes=int(document["peak_bytes"]),
                finished=_text(document["finished"]),
                maker=_text(document["maker"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"it is not an action result: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
