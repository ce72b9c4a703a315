"""Builders: a call becomes a node for this SCons, and a line of the SConstruct for phibuild."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import threading
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import SCons.Environment
import SCons.Errors
import SCons.Node
import SCons.Node.Alias
import SCons.Node.FS
import SCons.Util
from SCons.Script import BUILD_TARGETS, Action, GetOption

from .archiving import add_archiver
from .cleaning import (
    built_files,
    finish_artifact,
    is_reached,
    named_files,
    remove_empty_folders,
)
from .command import ask_for_offers, build, find_command, is_current
from .installing import add_installers
from .states import MANIFEST, read_json, state_of_artifact, state_of_folder, write

FOLDER = ".phibuild"
"""Beside the SConstruct: the generated one, and what one build remembers for the next."""
_OWN_FILES = ("SConstruct", "known.json", "sconsign.dblite")
_HEAD = """\
# Written by the SCons tool `phibuild` for a build whose Python cannot import phibuild.
from phibuild.scons import phibuild

DefaultEnvironment(tools=[])
SConsignFile("sconsign")
env = Environment(tools=[phibuild])
"""


class Model(NamedTuple):
    """The value of `PhiModel`: a folder, by its path or by the target that builds it."""

    source: Any


class Source(NamedTuple):
    """The path of an input, its nodes, and the state of a folder, which is not a node."""

    path: Path
    nodes: tuple[Any, ...]
    state: list[Any]


class Target(NamedTuple):
    """`call` is what phibuild reads, `where` the line that it comes from; `nodes` are the manifest
    and the files that other rules may name; `sources` come first."""

    name: str
    path: Path
    call: str
    where: str
    nodes: tuple[Any, ...]
    sources: tuple[Any, ...]


class Guest:
    """The calls of this SCons process, and the command that builds from them."""

    def __init__(self) -> None:
        self.fs = SCons.Node.FS.get_default_fs()
        self.top = Path(self.fs.Top.get_abspath())
        self.command = find_command()
        self.known = read_json(self.top / FOLDER / "known.json")
        if not is_current(self.known.get("offers"), self.command):
            self.known["offers"] = ask_for_offers(self.command)
        self.targets: dict[Path, Target] = {}
        self.built: set[Path] = set()
        self.lock = threading.Lock()
        # Our own, so that no other Decider decides about our nodes.
        self.env = SCons.Environment.Environment(tools=[])
        self.env.Decider("content")

    @property
    def builders(self) -> dict[str, Any]:
        """By name: the fields that are paths, and the files that other rules may name."""
        return dict(self.known["offers"]["builders"])

    def declare(
        self, builder: str, env: Any, target: Any, source: Any = None, **fields: Any
    ) -> Any:
        """A call of a builder; returns the alias that has the artifact's path for its name."""
        manifest = self.fs.File(env.subst(str(_single(target))) + MANIFEST)
        path = Path(manifest.get_abspath()[: -len(MANIFEST)])
        for name in ("model", "artifact"):
            source = fields.pop(name, source)
        offer = self.builders.get(builder, {"paths": (), "nodes": ()})  # InstallAs has neither
        paths = {name: fields.pop(name, None) for name in offer["paths"]}
        named = {n: self.find(env, path) for n, path in paths.items() if path is not None}
        inputs = {n: self.find(env, path) for n, path in (fields.pop("inputs", None) or {}).items()}
        modules = [self.find(env, path) for path in SCons.Util.flatten([fields.pop("modules", [])])]
        sources = [] if source is None else [self.find(env, source)]
        arguments = [repr(str(place)) for place in (path, *(source.path for source in sources))]
        arguments += [f"{name}={str(source.path)!r}" for name, source in named.items()]
        if inputs:
            fields["inputs"] = {name: str(source.path) for name, source in inputs.items()}
        if modules:
            fields["modules"] = [str(source.path) for source in modules]
        arguments += [f"{name}={_text(name, value)}" for name, value in fields.items()]
        sources += [*named.values(), *inputs.values(), *modules]
        name = os.path.relpath(str(path), str(self.top))
        declared = Target(
            name=str(path) if name.startswith("..") else name,
            path=path,
            call=f"env.{builder}({', '.join(arguments)})",
            where=_user_line(),
            nodes=(manifest, *(self.fs.File(f"{path}/{file}") for file in offer["nodes"])),
            sources=tuple(node for source in sources for node in source.nodes),
        )
        if path in self.targets:
            raise SCons.Errors.StopError(
                f"[PHI205] two targets have the path {declared.name}\n"
                f"  hint: give each artifact a path of its own\n  at {declared.where}."
            )
        self.targets[path] = declared
        self._add_nodes(declared, [source.state for source in sources])
        return self.env.Alias(declared.name, manifest)

    def _add_nodes(self, target: Target, states: list[Any]) -> None:
        manifest, nodes = target.nodes[0], list(target.nodes)
        decides = json.dumps([target.call, states, self.known["offers"]], sort_keys=True)
        self.env.Command(
            nodes,
            list(target.sources),
            Action(_make, _describe, varlist=["PHIBUILD_SIGNATURE"]),
            PHIBUILD_TARGET=target.path,
            PHIBUILD_SIGNATURE=hashlib.sha256(decides.encode()).hexdigest(),
        )
        self.env.Precious(nodes)  # SCons would delete the old manifest before
        self.env.NoCache(nodes)
        self.env.NoClean(nodes)  # `Clean` removes them if phibuild built them
        if GetOption("clean"):
            self._clean(target)
        if self.known.get("made", {}).get(str(target.path)) != state_of_artifact(target.path):
            self.env.AlwaysBuild(manifest)  # deleted or changed: SCons cannot see it
        for position, typed in enumerate(BUILD_TARGETS):
            if os.path.normpath(str(self.top / str(typed))) == str(target.path):
                BUILD_TARGETS[position] = target.name

    def _clean(self, target: Target) -> None:
        """Have SCons remove the files that the manifest names, and our own; empty folders follow at
        the end."""
        own = [self.top / FOLDER / name for name in _OWN_FILES]
        paths = [*built_files(target.path), *(path for path in own if is_reached(path, self.top))]
        self.env.Clean(target.nodes[0], [self.fs.Entry(str(path)) for path in paths])
        if GetOption("no_exec"):
            return
        if len(self.targets) == 1:
            atexit.register(remove_empty_folders, self.top / FOLDER, _OWN_FILES)
        atexit.register(finish_artifact, target.path, named_files(target.path))

    def find(self, env: Any, value: Any) -> Source:
        """The path of a source: a string, a node, or what a builder or `PhiModel` returned."""
        value = _single(value)
        if isinstance(value, Model):
            return self.find(env, value.source)
        if isinstance(value, str):
            value = self.fs.Entry(env.subst(value))
        if isinstance(value, SCons.Node.FS.Base):
            path, source = Path(value.get_abspath()), Path(value.srcnode().get_abspath())
            path = source if source.exists() and not path.exists() else path
        else:
            path = self.top / str(value)  # an alias: its name is the artifact's path
        if path in self.targets:
            return Source(path, self.targets[path].nodes[:1], [])
        if path.is_dir():
            return Source(path, (), state_of_folder(path))
        return Source(path, (self.fs.File(str(path)),), [])

    def artifact(self, env: Any, value: Any) -> Path | None:
        """The path of a source that is an artifact of this build; None for anything else."""
        if isinstance(value, (str, Path)):
            value = self.fs.Entry(env.subst(str(value)))
        if not isinstance(value, SCons.Node.Node):
            return None
        is_file = isinstance(value, SCons.Node.FS.Base)
        path = Path(value.get_abspath()) if is_file else self.top / str(value)
        return path if path in self.targets else None

    def make(self, target: Target) -> None:
        """Run `phibuild build` for this target and for all others of this build that can be built
        now: so a model is read once for several, and budgets are checked first."""
        with self.lock:
            if target.path in self.built:
                return
            ready = [other for other in self._requested() if not self._waits(other)]
            done = self.built | {target.path}
            targets = [target, *(other for other in ready if other.path not in done)]
            lines = [f"{other.call}  # {other.where}" for other in self.targets.values()]
            write(self.top / FOLDER / "SConstruct", _HEAD + "\n".join(lines) + "\n")
            flags = ["-f", f"{FOLDER}/SConstruct", "-j", str(GetOption("num_jobs"))]
            flags += ["-s"] * bool(GetOption("silent")) + ["-k"] * bool(GetOption("keep_going"))
            if build(self.command, self.top, [*flags, *(each.name for each in targets)]) != 0:
                reason = f"phibuild could not make {target.name}: see above"
                raise SCons.Errors.BuildError(node=target.nodes[0], errstr=reason)
            self.built.update(each.path for each in targets)
            states = {str(each.path): state_of_artifact(each.path) for each in targets}
            self.known["made"] = {**self.known.get("made", {}), **states}
            write(self.top / FOLDER / "known.json", json.dumps(self.known))

    def _requested(self) -> list[Target]:
        """The targets that this build needs, as far as that is known before scanners have run."""
        nodes = [self._node_of(typed) for typed in BUILD_TARGETS]
        if not nodes or any(isinstance(node, SCons.Node.FS.Dir) for node in nodes):
            return list(self.targets.values())
        seen: set[Any] = set()
        while nodes:
            node = nodes.pop()
            if node not in seen:
                seen.add(node)
                nodes += node.all_children(scan=0)
        return [target for target in self.targets.values() if seen.intersection(target.nodes)]

    def _node_of(self, typed: Any) -> Any:
        if isinstance(typed, SCons.Node.Node):
            return typed
        return SCons.Node.Alias.default_ans.lookup(typed) or self.fs.Entry(typed).disambiguate()

    def _waits(self, target: Target) -> bool:
        """Whether a rule of the other build still has to build an input of the target."""
        for node in target.sources:
            path = node.get_abspath()
            is_manifest = path.endswith(MANIFEST)
            our_target = self.targets.get(Path(path[: -len(MANIFEST)])) if is_manifest else None
            if self._waits(our_target) if our_target else node.has_builder():
                return True
        return False


@functools.lru_cache(None)
def guest() -> Guest:
    """The guest of this process."""
    return Guest()


def generate(env: Any) -> None:
    """Add `PhiModel` and the builders that the plugins of phibuild offer."""
    env.AddMethod(lambda env, source: Model(source), "PhiModel")
    for builder in guest().builders:
        env.AddMethod(functools.partial(guest().declare, builder), builder)
    add_installers(env, guest().artifact, functools.partial(guest().declare, "InstallAs"))
    add_archiver(env, guest().artifact)


def _make(target: Any, source: Any, env: Any) -> None:
    guest().make(guest().targets[env["PHIBUILD_TARGET"]])


def _describe(target: Any, source: Any, env: Any) -> str:
    name = guest().targets[env["PHIBUILD_TARGET"]].name
    return f"make {name}" if GetOption("no_exec") else ""


def _single(value: Any) -> Any:
    while SCons.Util.is_List(value) and len(value) == 1:
        value = value[0]
    return str(value) if isinstance(value, Path) else value


def _text(name: str, value: Any) -> str:
    """A field's value as Python text."""
    try:
        return repr(json.loads(json.dumps(value)))
    except TypeError:
        raise SCons.Errors.StopError(
            f"[PHI202] {name}={value!r} cannot be passed to phibuild\n"
            f"  hint: use numbers, strings, and lists and dicts of them\n  at {_user_line()}."
        ) from None


def _user_line() -> str:
    """The innermost line of the stack that is neither ours nor SCons'."""
    ours = (str(Path(__file__).parent), str(Path(SCons.Errors.__file__).parent))
    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(ours):
            return f"{frame.filename}, line {frame.lineno}"
    return "an unknown line"
