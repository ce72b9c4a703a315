"""The manifest: the small file beside an artifact that stands for its bytes in a build graph."""

from __future__ import annotations

import json
from typing import NamedTuple

from phibuild.model.digest import Digest
from phibuild.model.errors import StoreError
from phibuild.model.parsing import parse_json
from phibuild.model.tree import Tree

FORMAT = "phibuild-manifest/1"
SUFFIX = ".phi.json"


class Manifest(NamedTuple):
    """An artifact's action key and files; equal artifacts with equal keys have equal text."""

    artifact: str
    format: str
    key: Digest
    parameters: int
    tree: Tree

    @property
    def bits_per_weight(self) -> float | None:
        """Storage in bits, scales and metadata included, per parameter of the model."""
        return self.tree.size * 8 / self.parameters if self.parameters else None

    def to_text(self) -> str:
        """JSON with one line a file, ending in a newline."""
        return (
            json.dumps(
                {
                    "manifest": FORMAT,
                    "artifact": self.artifact,
                    "format": self.format,
                    "key": str(self.key),
                    "digest": str(self.tree.digest),
                    "parameters": self.parameters,
                    "files": self.tree.as_json(),
                },
                indent=1,
            )
            + "\n"
        )

    @classmethod
    def from_text(cls, text: str, *, where: str) -> Manifest:
        """Read a manifest; StoreError PHI303 (naming `where`) if it is not one of this format."""
        try:
            document = parse_json(text)
            if document["manifest"] != FORMAT:
                raise ValueError(f"format {document['manifest']!r} is not {FORMAT!r}")
            return cls(
                artifact=document["artifact"],
                format=document["format"],
                key=Digest.parse(document["key"]),
                parameters=document["parameters"],
                tree=Tree.from_json(document["files"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(
                f"{where} is not a phibuild manifest: {error}",
                hint="delete it; the next build writes it again",
                code="PHI303",
            ) from None
