"""One SCons process: its workshop, what its SConstruct declared, and what was made of it."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
import threading
from collections.abc import Set
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SCons.Environment import Environment
from SCons.Node.FS import get_default_fs
from SCons.Script import GetOption

from phibuild.engine.declaration import Declaration
from phibuild.engine.workshop import Workshop
from phibuild.model.digest import Digest
from phibuild.model.errors import PhiError, RecipeError
from phibuild.model.sizes import show_size
from phibuild.process import ending
from phibuild.scons.claims import Claims, TargetClaim
from phibuild.scons.display import Display, say
from phibuild.scons.paths import check_path
from phibuild.store import FolderLock

if TYPE_CHECKING:
    from phibuild.engine.building.realize import Made
    from phibuild.scons.cleaning import Cleaning
    from phibuild.scons.selection import Asked

DESCRIBE = "PHIBUILD_DESCRIBE"
"""Names the file that a run of SCons which builds nothing writes its description to."""
DESCRIBE_SIZES = "PHIBUILD_DESCRIBE_SIZES"
"""Set if that description is to have the sizes of artifacts that are not made yet."""
DEPFILE = "PHIBUILD_DEPFILE"
"""Names the file that a build writes what its targets were made from to."""
DEPFILE_FROM = "PHIBUILD_DEPFILE_FROM"
"""The folder that the targets in it are named from."""
DEPFILE_TARGET = "PHIBUILD_DEPFILE_TARGET"
"""The one name that stands in it for all targets, where another build has a name for them."""

_MANY = 100


def _own_environment() -> Any:
    """One that nobody else's Decider decides in."""
    environment = Environment(tools=[])
    environment.Decider("content")
    return environment


@dataclass
class Session:
    """Declarations by absolute target path, in order; `made` grows as targets become true. `folder`
    is where paths of targets begin: that of the SConstruct, unless `-f` names one elsewhere.
    Our nodes are made in `environment`."""

    folder: Path
    display: Display
    declarations: dict[Path, Declaration] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    environment: Any = field(default_factory=_own_environment)
    _cleaning: Cleaning | None = None
    _lock: FolderLock | None = None
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _shop: Workshop | None = None

    @property
    def shop(self) -> Workshop:
        """The workshop, opened when it is first needed."""
        with self._guard:
            if self._shop is None:
                self._shop = Workshop.open(self.display)
            return self._shop

    @property
    def only_cleans(self) -> bool:
        """Whether this run reads the SConstruct to clean or to print help."""
        return bool(GetOption("clean") or GetOption("help"))

    @cached_property
    def claims(self) -> Claims:
        """What the declarations claim of the disk."""
        return Claims(self.folder, self.shop.store.root)

    @property
    def cleaning(self) -> Cleaning:
        """What this run may clean."""
        if self._cleaning is None:
            from phibuild.scons.cleaning import Cleaning  # few runs clean

            self._cleaning = Cleaning()
        return self._cleaning

    def declare(self, declaration: Declaration, claim: TargetClaim) -> None:
        """Remember a declaration; RecipeError PHI205 if its path is taken, or if building it would
        destroy something."""
        if declaration.target in self.declarations:
            raise RecipeError(
                f"two targets have the path {declaration.name}",
                hint="give each artifact a path of its own",
                code="PHI205",
            )
        self.claims.claim(claim)
        self.declarations[declaration.target] = declaration

    def begin(self) -> None:
        """Called before the first target is worked on: one build at a time in a folder."""
        from phibuild.engine.forecast.budgets import check_budgets

        shop = self.shop
        ending.asked()  # from here on a signal ends us, also while we wait for a lock
        with self._guard:
            if self._lock is None:
                self.claims.check_again()
                # First: while a budget is not met, no other target begins either.
                asked = self.asked()
                every = {one.name for one in self.declarations.values()}
                check_budgets(shop, self.declarations, asked.names if asked.is_certain else every)
                name = f"folder-{Digest.of(os.fsencode(self.folder)).hex[:16]}"
                shop.store.sweep()
                self._lock = FolderLock(shop.store.root / "locks" / name, folder=self.folder)
                self.display.expect(self._outlook(shop, asked.names))

    def _outlook(self, shop: Workshop, wanted: Set[str]) -> dict[str, float | None]:
        """The targets that this build is about to make, and the seconds that each may take; empty
        where there are so many that looking at each would be work of its own. The shop gets to
        know them, too, and what is made of them."""
        from phibuild.engine.forecast.state import Standing, describe

        if len(wanted) > _MANY:
            return {}
        found: dict[str, float | None] = {}
        for one in self.declarations.values():
            if one.name in wanted:
                with contextlib.suppress(PhiError):  # its own build will tell
                    described = describe(shop, one)
                    if described.standing is not Standing.UP_TO_DATE:
                        found[one.name] = described.seconds
                    if one.name in found or any(path in shop.wanted for path in one.sources):
                        shop.wanted[one.target] = one
        return found

    def asked(self) -> Asked:
        """The targets that the targets typed lead to."""
        from phibuild.scons.selection import asked_for

        return asked_for(self.declarations, get_default_fs())

    def finished(self, made: Made) -> None:
        """Called when a target is true."""
        self.shop.wanted.pop(made.declaration.target, None)
        with self._guard:
            self.made.append(made)
        self.display.made(made)


@cache
def session() -> Session:
    """The session of this process."""
    # While a SConscript is read, the current folder is that script's; and the SConstruct of other
    # builds may lie elsewhere, as PlatformIO's does.
    folder = Path(get_default_fs().Top.get_abspath())
    check_path(str(folder))
    ending.watch()
    one = Session(folder, Display(silent=bool(GetOption("silent"))))
    atexit.register(_finish, one)
    return one


def _finish(one: Session) -> None:
    with ending.status_at_exit():
        _conclude(one)
    gc.freeze()  # else Python looks for garbage among all that is left, and ends anyway


def _conclude(one: Session) -> None:
    say("", end="")  # what SCons printed
    if one._shop is None:
        return  # it could not be opened: the SConstruct was not read
    if one.only_cleans:
        one.cleaning.finish(say if not one.display.silent else lambda _: None)
    depfile = os.environ.get(DEPFILE)
    if depfile:
        from phibuild.scons.depfile import write_depfile

        try:
            write_depfile(one, Path(depfile))
        except (OSError, UnicodeError) as error:  # the command that asked fails when it is empty
            Path(depfile).write_bytes(b"")
            print(f"the depfile cannot be written: {error}", file=sys.stderr)
    path = os.environ.get(DESCRIBE)
    if path:
        from phibuild.scons.project_state import write_description

        write_description(one, Path(path), with_sizes=DESCRIBE_SIZES in os.environ)
    elif one.made:
        one.display.close()
        if not one.display.silent:
            from phibuild.scons.summary import print_summary

            print_summary(one)
        _keep_to_limit(one)


def _keep_to_limit(one: Session) -> None:
    """Collect after a build that has worked, if the store has become larger than its limit."""
    from phibuild.engine.building.realize import Outcome
    from phibuild.store.collection import collect_to_limit

    if all(made.outcome is Outcome.RECALLED for made in one.made):
        return
    try:
        freed = collect_to_limit(one.shop.store)
    except (PhiError, OSError) as error:
        print(f"phibuild: the store could not be collected: {error}", file=sys.stderr)
        return
    if freed is not None and not one.display.silent:
        say(f"The store was larger than its limit: {show_size(freed.bytes)} freed.")
