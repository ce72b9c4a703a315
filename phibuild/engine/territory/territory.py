"""The territory of a build: which places targets claim, and which ones no target may touch.

A target replaces what lies in its place. So it must not be, contain or lie in what the build reads
or what another target writes, and must not be or contain what the user cannot lose. Claims are
compared with all earlier ones: the order in which an SConstruct declares things does not matter.
"""

from __future__ import annotations

import enum
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from phibuild.engine.territory.places import Place, PlaceKey, Places
from phibuild.model.errors import RecipeError
from phibuild.model.manifest import SUFFIX

HINT = (
    'give the artifact a path of its own, such as "dist/model.gguf":'
    " neither in nor around a model, an input, another target or the project itself"
)


class Role(enum.Enum):
    """Why a place is claimed. A target may lie in what is KEPT, such as the project's folder, but
    not in what is USED, such as a model."""

    TARGET = "target"
    USED = "used"
    KEPT = "kept"


class Claim(NamedTuple):
    """`name` is how an error calls the claim. `parts` are the files in a target that other rules
    may name, and `built` says that another rule of this build writes what is USED."""

    name: str
    role: Role
    places: tuple[Place, ...]
    parts: frozenset[PlaceKey] | None = None
    built: bool = False

    def may_lie_in(self, target: Claim) -> bool:
        """Whether this is an input that belongs in the target's folder: a file that other rules may
        name, or what a rule compiled beside it."""
        if target.parts is None:
            return False
        return self.built or any(key in target.parts for place in self.places for key in place.keys)


class _ClaimIndex:
    """The claims of one role: by the keys of their places, by the folder that they lie directly in,
    and those folders by the keys of all folders around them."""

    def __init__(self) -> None:
        self.at: defaultdict[PlaceKey, list[Claim]] = defaultdict(list)
        self.directly_in: defaultdict[Place, list[Claim]] = defaultdict(list)
        self.below: defaultdict[PlaceKey, list[Place]] = defaultdict(list)

    def add(self, claim: Claim) -> None:
        for place in claim.places:
            for key in place.keys:
                self.at[key].append(claim)
            if place.above is None:
                continue
            if place.above not in self.directly_in:
                for folder in place.around():
                    for key in folder.keys:
                        self.below[key].append(place.above)
            self.directly_in[place.above].append(claim)

    def same_as(self, place: Place) -> Iterator[Claim]:
        for key in place.keys:
            yield from self.at.get(key, ())

    def inside(self, place: Place) -> Iterator[Claim]:
        for key in place.keys:
            for folder in self.below.get(key, ()):
                yield from self.directly_in[folder]

    def around(self, place: Place) -> Iterator[Claim]:
        for folder in place.around():
            yield from self.same_as(folder)


class Territory:
    """The claims of one build. Each method raises RecipeError PHI205 if a claim would let a target
    destroy something; nothing on the disk is changed."""

    def __init__(self) -> None:
        self._places = Places()
        self._indexes = {role: _ClaimIndex() for role in Role}
        self._seen: set[tuple[str, Role]] = set()

    def keep(self, path: str, name: str) -> None:
        """No target may be or contain this."""
        if self._is_new(path, Role.KEPT):
            claim = Claim(name, Role.KEPT, self._places.of(path))
            for place in claim.places:
                for target in self._indexes[Role.TARGET].same_as(place):
                    raise _refused(target, "is", claim)
                for target in self._indexes[Role.TARGET].around(place):
                    raise _refused(target, "contains", claim)
            self._indexes[Role.KEPT].add(claim)

    def use(self, path: str, name: str, *, built: bool = False) -> None:
        """The build reads this file or folder, and what links in the folder lead to. `built` if a
        rule of the same build writes it."""
        if self._is_new(path, Role.USED):
            places = list(self._places.of(path))
            for link in _links_in(path):
                places += self._places.of(link)
            claim = Claim(name, Role.USED, tuple(places), built=built)
            for place in claim.places:
                for target in self._indexes[Role.TARGET].same_as(place):
                    raise _refused(target, "is", claim)
                for target in self._indexes[Role.TARGET].around(place):
                    if not claim.may_lie_in(target):
                        raise _refused(target, "contains", claim)
                for target in self._indexes[Role.TARGET].inside(place):
                    raise _refused(target, "lies in", claim)
            self._indexes[Role.USED].add(claim)

    def claim(self, path: str, name: str, parts: Iterable[str] = ()) -> None:
        """A target writes its artifact to this path and a manifest beside it; `parts` are paths in
        the artifact that other rules may name."""
        inside = [place for part in parts for place in self._places.of(f"{path}/{part}")]
        keys = frozenset(key for place in inside for key in place.keys) if inside else None
        target = Claim(f"the target {name}", Role.TARGET, self._places.of(path), keys)
        manifest = Claim(
            f"the manifest {name}{SUFFIX}", Role.TARGET, self._places.of(f"{path}{SUFFIX}")
        )
        for claim in (target, manifest):
            self._check(claim)
        for claim in (target, manifest):
            self._indexes[Role.TARGET].add(claim)

    def _check(self, target: Claim) -> None:
        targets, used, kept = (self._indexes[role] for role in Role)
        for place in target.places:
            if place.above is None or place.is_mount:
                raise _refusal(f"{target.name} is the root of a file system")
            for index in (kept, used, targets):
                for other in index.same_as(place):
                    raise _refused(target, "is", other)
            for index in (kept, used, targets):
                for other in index.inside(place):
                    if index is not used or not other.may_lie_in(target):
                        raise _refused(target, "contains", other)
            for index in (targets, used):
                for other in index.around(place):
                    raise _refused(target, "lies in", other)

    def _is_new(self, path: str, role: Role) -> bool:
        if (path, role) in self._seen:
            return False
        self._seen.add((path, role))
        return True


def _links_in(folder: str) -> list[str]:
    """The links in a folder: checkpoints in a cache of downloads are links to blobs elsewhere."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_symlink()]
    except OSError:
        return []


def _refused(target: Claim, relation: str, other: Claim) -> RecipeError:
    return _refusal(f"{target.name} {relation} {other.name}")


def _refusal(message: str) -> RecipeError:
    return RecipeError(message, hint=HINT, code="PHI205")
