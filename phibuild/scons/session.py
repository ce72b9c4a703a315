"""One SCons process: its workshop, what its SConstruct declares, and the results of its targets."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Set
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from SCons.Environment import Environment
from SCons.Node.FS import get_default_fs
from SCons.Script import GetOption

from phibuild.engine.declaration import Declaration
from phibuild.engine.workshop import Workshop
from phibuild.model.digest import Digest
from phibuild.model.errors import PhiError, RecipeError
from phibuild.process import ending
from phibuild.scons.claims import Claims, TargetClaim
from phibuild.scons.display import Display
from phibuild.scons.paths import check_path
from phibuild.store import FolderLock

if TYPE_CHECKING:
    from phibuild.engine.building.realize import TargetResult
    from phibuild.scons.cleaning import Cleaning
    from phibuild.scons.selection import Selection

_MANY = 100


class Session:
    """Declarations by absolute target path, in order; `results` grows as targets come up to date.
    Paths of targets are relative to `folder`: that of the SConstruct, unless `-f` names one
    elsewhere. Our nodes are made in `environment`."""

    def __init__(self, folder: Path, display: Display) -> None:
        self.folder = folder
        self.began = time.time_ns()
        self.display = display
        self.declarations: dict[Path, Declaration] = {}
        self.results: list[TargetResult] = []
        self.environment = Environment(tools=[])
        self.environment.Decider("content")  # in an environment where nobody else decides
        self._lock: FolderLock | None = None
        self._guard = threading.Lock()
        self._shop: Workshop | None = None

    @property
    def shop(self) -> Workshop:
        """The workshop, opened when it is first needed."""
        with self._guard:
            if self._shop is None:
                self._shop = Workshop.open(self.display)
            return self._shop

    @property
    def is_open(self) -> bool:
        """Whether the workshop could be opened."""
        return self._shop is not None

    @property
    def only_cleans(self) -> bool:
        """Whether this run reads the SConstruct to clean or to print help."""
        return bool(GetOption("clean") or GetOption("help"))

    @cached_property
    def claims(self) -> Claims:
        """What the declarations claim of the disk."""
        return Claims(self.folder, self.shop.store.root)

    @cached_property
    def cleaning(self) -> Cleaning:
        """What this run may clean."""
        from phibuild.scons.cleaning import Cleaning  # few runs clean

        return Cleaning()

    def declare(self, declaration: Declaration, claim: TargetClaim) -> None:
        """Remember a declaration; RecipeError PHI205 if another target has its path, or if building
        it would destroy something."""
        if declaration.target in self.declarations:
            raise RecipeError(
                f"two targets have the path {declaration.name}",
                hint="give each artifact a path of its own",
                code="PHI205",
            )
        self.claims.claim(claim)
        self.declarations[declaration.target] = declaration

    def begin(self) -> None:
        """Called before each target; before the first one, checks what concerns all targets and
        locks the folder, so that one build at a time runs in it."""
        from phibuild.engine.forecast.budgets import check_budgets

        shop = self.shop
        ending.end_requested()  # from here on a signal ends us, also while we wait for a lock
        with self._guard:
            if self._lock is None:
                self.claims.check_again()
                # First: while a budget is not met, no other target begins either.
                selection = self.selection()
                every = {declaration.name for declaration in self.declarations.values()}
                names = selection.names if selection.is_certain else every
                check_budgets(shop, self.declarations, names)
                name = f"folder-{Digest.of(os.fsencode(self.folder)).hex[:16]}"
                shop.store.sweep()
                self._lock = FolderLock(shop.store.root / "locks" / name, folder=self.folder)
                self.display.expect(self._forecast(shop, selection.names))

    def _forecast(self, shop: Workshop, names: Set[str]) -> dict[str, float | None]:
        """The targets that this build is about to work on, and the seconds that each may take;
        empty where there are too many to look at each. They become the pending targets, and so do
        the targets that are made from them."""
        from phibuild.engine.forecast.state import Standing, target_state

        if len(names) > _MANY:
            return {}
        pending = shop.plans.pending
        seconds: dict[str, float | None] = {}
        for declaration in self.declarations.values():
            if declaration.name in names:
                with contextlib.suppress(PhiError):  # its own build reports it
                    state = target_state(shop, declaration)
                    if state.standing is not Standing.UP_TO_DATE:
                        seconds[declaration.name] = state.seconds
                    is_due = declaration.name in seconds
                    if is_due or not pending.keys().isdisjoint(declaration.sources):
                        pending[declaration.target] = declaration
        return seconds

    def selection(self) -> Selection:
        """The targets that the arguments of SCons lead to."""
        from phibuild.scons.selection import select

        return select(self.declarations, get_default_fs())

    def finished(self, result: TargetResult) -> None:
        """Called when a target is up to date."""
        self.shop.plans.pending.pop(result.declaration.target, None)
        with self._guard:
            self.results.append(result)
        self.display.finished(result)


@cache
def session() -> Session:
    """The session of this process."""
    # While a SConscript is read, the current folder is that script's; and the SConstruct of other
    # builds may lie elsewhere, as PlatformIO's does.
    folder = Path(get_default_fs().Top.get_abspath())
    check_path(str(folder))
    ending.watch()
    return Session(folder, Display(silent=bool(GetOption("silent"))))
