"""The workshop: everything around an action that is not the action itself."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from phibuild.engine.declaration import CURRENT, Declaration
from phibuild.engine.reporter import Reporter, Silent
from phibuild.engine.workers.code import CodeReader
from phibuild.foreign import read_regular
from phibuild.model.action import HOST, OWN, Action, Program
from phibuild.model.digest import Digest
from phibuild.model.errors import PhiError, PluginError, StoreError
from phibuild.model.facts import Facts
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.model.tree import Tree
from phibuild.offers import NativeToolchain, PythonToolchain
from phibuild.registry import Registry, load_registry
from phibuild.source import Checkpoint, read_checkpoint
from phibuild.store import Store, lies_at, store_root
from phibuild.toolchain.program import FoundProgram, ask, path_of, starts_another
from phibuild.toolchain.python import Interpreters, facts_of_current, facts_of_lock

_WORTH_TELLING = 500_000_000
"""Bytes to read below which it is over before anyone has read that it began."""
_LARGEST_MANIFEST = 64 << 20


@dataclass
class Workshop:
    """The store, the plugins, and what this process has found out about toolchains and sources.

    `wanted` are the targets that this build is still to make, by path, and `made_ahead` the seconds
    spent on results that were made along with those of another target, by key.
    """

    store: Store
    registry: Registry
    reporter: Reporter = field(default_factory=Silent)
    wanted: dict[Path, Declaration] = field(default_factory=dict)
    made_ahead: dict[Digest, float] = field(default_factory=dict)
    _facts: dict[str, Facts] = field(default_factory=dict)
    _builds: dict[str, Action] = field(default_factory=dict)
    _programs: dict[Program, FoundProgram] = field(default_factory=dict)
    _checkpoints: dict[Path, Checkpoint] = field(default_factory=dict)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, reporter: Reporter | None = None) -> Workshop:
        """The workshop of this user, with the installed plugins."""
        store = Store(store_root())
        registry = load_registry(store.root / "plugins")
        return cls(store, registry, reporter or Silent())

    @cached_property
    def code(self) -> CodeReader:
        """What workers are shown of code."""
        return CodeReader(self.store.index)

    @property
    def interpreters(self) -> Interpreters:
        """The Python toolchains of the store."""
        root = self.store.root
        return Interpreters(root / "toolchains", root / "uv", root / "bytecode")

    def checkpoint(self, folder: Path) -> Checkpoint:
        """The checkpoint in a folder, read once in this process unless its files change."""
        with self._reading:
            known = self._checkpoints.get(folder)
            if known is None or not self.is_unchanged(known):
                name = f"read {folder.name}"
                told = False

                def progressed(done: int, total: int) -> None:
                    nonlocal told
                    if not told and total > _WORTH_TELLING:
                        self.reporter.started(name, seconds=total / 1.5e9)
                        told = True
                    if told:
                        self.reporter.progressed(name, done / max(total, 1), "digests of tensors")

                try:
                    known = read_checkpoint(folder, self.store.index, on_progress=progressed)
                finally:
                    if told:
                        self.reporter.ended(name)
                self._checkpoints[folder] = known
            return known

    def is_unchanged(self, checkpoint: Checkpoint) -> bool:
        """Whether the files are still those that the slices were read from."""
        try:
            return all(self.store.index.signature(path) == seen for path, seen in checkpoint.files)
        except OSError:
            return False

    def was_unchanged(self, checkpoint: Checkpoint) -> bool:
        """The same after work. Files that have other links may have a new ctime, and artifacts that
        are hard links to objects a new mtime too, when another build places the same objects:
        their bytes are then read again."""
        if self.is_unchanged(checkpoint):
            return True
        with contextlib.suppress(OSError, PhiError):
            is_ours = self.manifest_in_place(checkpoint.folder) is not None
            if is_ours or self._are_same_files(checkpoint):
                return self.checkpoint(checkpoint.folder).slices == checkpoint.slices
        return False

    def manifest_in_place(self, path: Path) -> Manifest | None:
        """The manifest of an artifact whose files are all as it says."""
        manifest = self.manifest_of(path)
        return manifest if manifest and self.is_in_place(manifest.tree, path) else None

    def _are_same_files(self, checkpoint: Checkpoint) -> bool:
        """Whether size, mtime and inode are those that were seen."""
        seal = self.store.index.signature
        return all(seen.startswith(f"{seal(path, 'seal')}:") for path, seen in checkpoint.files)

    def python_toolchain(self, name: str) -> PythonToolchain:
        """The Python toolchain of this name; PluginError PHI503 if there is none."""
        found = self.registry.pythons.get(name)
        if found is None:
            raise PluginError(
                f"no plugin offers the Python toolchain {name!r}",
                hint=f"there are {', '.join(sorted({HOST, OWN, *self.registry.pythons}))}",
            )
        return found

    def native_toolchain(self, name: str) -> NativeToolchain:
        """The native toolchain of this name; PluginError PHI503 if there is none."""
        found = self.registry.natives.get(name)
        if found is None:
            raise PluginError(
                f"no plugin offers the native toolchain {name!r}",
                hint=f"there are {', '.join(sorted(self.registry.natives))}",
            )
        return found

    def once(self, name: str, find: Callable[[], Facts]) -> Facts:
        """Facts that cannot change while this process runs, found when they are first needed."""
        if name not in self._facts:
            self._facts[name] = find()
        return self._facts[name]

    def interpreter_facts(self, name: str) -> Facts:
        """The identity facts of an action's interpreter. HOST has the standard library only, and so
        has none."""
        if name == HOST:
            return ()
        if name == OWN:
            from phibuild.toolchain.own import facts_of_own

            return self.once(name, facts_of_own)
        if name.startswith(CURRENT):
            current = self.python_toolchain(name.removeprefix(CURRENT))
            return self.once(name, lambda: facts_of_current(current))
        toolchain = self.python_toolchain(name)
        return self.once(name, lambda: facts_of_lock(toolchain))

    def native_build(self, name: str) -> Action:
        """The action that builds a native toolchain, planned once in this process."""
        if name not in self._builds:
            self._builds[name] = self.native_toolchain(name).build()
        return self._builds[name]

    def program(self, program: Program) -> FoundProgram:
        """A program of the machine; ToolchainError PHI606 without it. It is started only if its
        file has changed since it was last asked, so that a null build starts none."""
        if program not in self._programs:
            path = path_of(program)
            identity = self._identity(program, path) if program.ask else ""
            self._programs[program] = FoundProgram(path, identity)
        return self._programs[program]

    def _identity(self, program: Program, path: Path) -> str:
        if starts_another(path):
            return ask(program, path)
        question = repr((program.ask, program.tells))
        known = (self.store.index.recall(path, "program") or "").partition("\n")
        if known[0] == question and known[2]:
            return known[2]
        seen = self.store.index.signature(path)
        identity = ask(program, path)
        self.store.index.record(path, "program", f"{question}\n{identity}", seen=seen)
        return identity

    def manifest_of(self, target: Path) -> Manifest | None:
        """The manifest beside an artifact, None if there is none or it cannot be read as one."""
        path = Path(f"{target}{SUFFIX}")
        try:
            text = read_regular(path, most=_LARGEST_MANIFEST).decode("utf-8")
            return Manifest.from_text(text, where=str(path))
        except (OSError, UnicodeDecodeError, StoreError):
            return None

    def is_in_place(self, tree: Tree, target: Path, *, others_may_be: bool = False) -> bool:
        """Whether an artifact's files are all as its manifest says, and no others beside them."""
        if not tree.is_file and not others_may_be:
            try:
                found = set(_names(str(target)))
            except OSError:
                return False
            if found != {entry.path for entry in tree.entries}:
                return False
        return lies_at(self.store, tree, str(target))

    def is_made(self, declaration: Declaration, tree: Tree) -> bool:
        """Whether the target's files are in place; objects compiled from them may lie beside."""
        return self.is_in_place(
            tree, declaration.target, others_may_be=declaration.is_compiled_in_place
        )

    def python_of(self, toolchain: str) -> Path:
        """The interpreter of a toolchain, installed if it is not there yet."""
        if toolchain in (HOST, OWN) or toolchain.startswith(CURRENT):
            return Path(sys.executable)
        offer = self.python_toolchain(toolchain)
        self.store.lease.hold([self.interpreters.path_of(offer).name])
        if not self.interpreters.is_installed(offer):
            with self.store.locked(f"toolchain-{self.interpreters.path_of(offer).name}"):
                if not self.interpreters.is_installed(offer):
                    name = f"toolchain {toolchain}"
                    self.reporter.started(name, seconds=None)
                    self.reporter.progressed(name, None, "install packages, once on this machine")
                    try:
                        aside = self.interpreters.install(offer)
                    finally:
                        self.reporter.ended(name)
                    if aside is not None:
                        print(f"Kept {aside}: phibuild did not make it", file=sys.stderr)
        return self.interpreters.python_of(offer)


def _names(folder: str, prefix: str = "") -> Iterator[str]:
    """The paths of all files inside, in no order; links are files. Each null build walks here."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _names(entry.path, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name
