"""The toolchains that do the work: interpreters, native tools and the machine's programs, and the
facts that identify them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from phibuild.engine.declaration import CURRENT
from phibuild.engine.reading.inputs import file_digests
from phibuild.engine.reading.sources import Sources
from phibuild.engine.reporter import Reporter
from phibuild.engine.workers.code import CodeReader
from phibuild.model.action import HOST, OWN, Action, Program, Step, facts_of
from phibuild.model.digest import Digest, digest_of_value
from phibuild.model.errors import PluginError
from phibuild.model.facts import Fact, Facts
from phibuild.offers import PythonToolchain
from phibuild.registry import Registry
from phibuild.store import Store
from phibuild.toolchain.program import FoundProgram, ask, path_of, starts_another
from phibuild.toolchain.python import Interpreters, facts_of_current, facts_of_lock

OfferT = TypeVar("OfferT")


class Toolchains:
    """Identifies what does the work, each once in this process, and installs interpreters."""

    def __init__(
        self, store: Store, registry: Registry, sources: Sources, reporter: Reporter
    ) -> None:
        self.interpreters = Interpreters(
            store.root / "toolchains", store.root / "uv", store.root / "bytecode"
        )
        self._store = store
        self._registry = registry
        self._sources = sources
        self._reporter = reporter
        self._facts: dict[str, Facts] = {}
        self._digests: dict[str, Digest] = {}
        self._builds: dict[str, Action] = {}
        self._programs: dict[Program, FoundProgram] = {}
        self._guard = threading.RLock()  # the facts of a tool are found while those of a step are

    @cached_property
    def code(self) -> CodeReader:
        """The code that workers are shown."""
        return CodeReader(self._store.index)

    def python(self, name: str) -> PythonToolchain:
        """The Python toolchain of this name; PluginError PHI503 if no plugin offers it."""
        return _offered("Python toolchain", name, self._registry.pythons, HOST, OWN)

    def native_build(self, name: str) -> Action:
        """The action that builds a native toolchain; PluginError PHI503 if no plugin offers it."""
        with self._guard:
            if name not in self._builds:
                offer = _offered("native toolchain", name, self._registry.natives)
                self._builds[name] = offer.build()
            return self._builds[name]

    def facts(self, step: Step) -> Facts:
        """The identity of all that does the work: the interpreter; the facts of the actions that
        build its native tools, so that an explanation can name the flag that changed; and what the
        machine's programs say of themselves."""
        return (
            *self._of_interpreter(step.toolchain),
            *(fact for tool in step.tools for fact in self._of_tool(tool)),
            *(
                Fact(f"program.{program.name}", self.program(program).identity)
                for program in step.programs
                if program.ask
            ),
        )

    def digest(self, step: Step) -> Digest:
        """The digest of these facts, computed once for each set of toolchains."""
        programs = (program.name for program in step.programs if program.ask)
        name = " ".join((step.toolchain, *step.tools, *programs))
        with self._guard:
            if name not in self._digests:
                facts = [[fact.name, fact.value] for fact in self.facts(step)]
                self._digests[name] = digest_of_value(facts)
            return self._digests[name]

    def _of_interpreter(self, name: str) -> Facts:
        """HOST has only the standard library, and so has no facts."""
        if name == HOST:
            return ()
        if name == OWN:
            from phibuild.toolchain.own import facts_of_own

            return self._once(name, facts_of_own)
        if name.startswith(CURRENT):
            current = self.python(name.removeprefix(CURRENT))
            return self._once(name, lambda: facts_of_current(current))
        toolchain = self.python(name)
        return self._once(name, lambda: facts_of_lock(toolchain))

    def _of_tool(self, name: str) -> Facts:
        def facts() -> Facts:
            build = self.native_build(name)
            return tuple(
                Fact(f"toolchain.{name}.{fact.name}", fact.value)
                for fact in self.build_facts(build)
            )

        return self._once(f"tool {name}", facts)

    def build_facts(self, build: Action) -> Facts:
        """The facts of an action that builds a native toolchain."""
        return facts_of(
            build,
            worker=self.code.read(build).digest,
            slices={},
            inputs=file_digests(self._sources, build),
            toolchains=self.facts(build),
        )

    def _once(self, name: str, find: Callable[[], Facts]) -> Facts:
        with self._guard:
            if name not in self._facts:
                self._facts[name] = find()
            return self._facts[name]

    def program(self, program: Program) -> FoundProgram:
        """A program of the machine; ToolchainError PHI606 if it was not found. It is started only
        if its file has changed since the last time, so that a null build starts none."""
        with self._guard:
            if program not in self._programs:
                path = path_of(program)
                identity = self._identity(program, path) if program.ask else ""
                self._programs[program] = FoundProgram(path, identity)
            return self._programs[program]

    def _identity(self, program: Program, path: Path) -> str:
        if starts_another(path):
            return ask(program, path)
        question = repr((program.ask, program.pattern))
        index = self._store.index
        known = (index.recall(path, "program") or "").partition("\n")
        if known[0] == question and known[2]:
            return known[2]
        signature = index.signature(path)
        identity = ask(program, path)
        index.record(path, "program", f"{question}\n{identity}", seen=signature)
        return identity

    def python_of(self, name: str) -> Path:
        """The interpreter of a toolchain, which is installed if necessary."""
        if name in (HOST, OWN) or name.startswith(CURRENT):
            return Path(sys.executable)
        offer = self.python(name)
        folder = self.interpreters.path_of(offer).name
        self._store.lease.hold([folder])
        if not self.interpreters.is_installed(offer):
            with self._store.locked(f"toolchain-{folder}"):
                if not self.interpreters.is_installed(offer):
                    self._install(offer)
        return self.interpreters.python_of(offer)

    def _install(self, offer: PythonToolchain) -> None:
        name = f"toolchain {offer.name}"
        self._reporter.started(name, seconds=None)
        self._reporter.progressed(name, None, "install packages, once on this machine")
        try:
            aside = self.interpreters.install(offer)
        finally:
            self._reporter.ended(name)
        if aside is not None:
            print(f"Kept {aside}: phibuild did not make it", file=sys.stderr)


def _offered(kind: str, name: str, offers: Mapping[str, OfferT], *others: str) -> OfferT:
    if name not in offers:
        known = ", ".join(sorted({*others, *offers}))
        raise PluginError(f"no plugin offers the {kind} {name!r}", hint=f"there are {known}")
    return offers[name]
