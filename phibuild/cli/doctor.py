"""`phibuild doctor`: what is missing, and the command that fixes it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from phibuild.cli.console import say
from phibuild.engine.workshop import Workshop
from phibuild.model.errors import PhiError
from phibuild.model.sizes import show_size
from phibuild.registry import DISABLED
from phibuild.store import store_root
from phibuild.store.copying import LINK, Way, way_to
from phibuild.toolchain.compiler import find_compiler
from phibuild.toolchain.program import ask, path_of

_SPACE = 10_000_000_000
"""Bytes that the toolchains of all plugins and a first small model need together."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of something that a build needs; `cure` is what to type, empty if all is well."""

    subject: str
    state: str
    cure: str = ""
    is_error: bool = False


@click.command("doctor")
def command() -> None:
    """Look for what is missing; exit status 1 if a build would fail."""
    failed = False
    for finding in findings():
        mark = "FAIL" if finding.is_error else ("todo" if finding.cure else "ok")
        say(f"{mark:<5} {finding.subject}: {finding.state}")
        if finding.cure:
            say(f"      cure: {finding.cure}")
        failed = failed or finding.is_error
    raise SystemExit(int(failed))


def findings() -> Iterator[Finding]:
    """Everything that a build needs, in the order in which it needs it."""
    yield Finding("python", f"{sys.version.split()[0]} at {sys.executable}")
    try:
        compiler = find_compiler().cxx
        yield Finding("C++ compiler", ask(compiler, path_of(compiler)))
    except PhiError as error:
        yield Finding("C++ compiler", error.message, error.hint, is_error=True)
    try:
        shop = Workshop.open()
    except PhiError as error:
        yield Finding("store", error.message, error.hint, is_error=True)
        return
    yield _disk()
    yield _artifacts(shop, Path.cwd())
    for plugin in shop.registry.plugins:
        if plugin.problem:
            cure = f"pip install --force-reinstall {plugin.distribution}, or uninstall it"
            yield Finding(f"plugin {plugin.name}", plugin.problem, cure, is_error=True)
        else:
            state = f", disabled by {DISABLED}" if plugin.is_disabled else ""
            yield Finding(f"plugin {plugin.name}", f"{plugin.distribution} {plugin.version}{state}")
    yield from _toolchains(shop)


def _toolchains(shop: Workshop) -> Iterator[Finding]:
    from phibuild.engine.building.tools import differences, is_installed

    for name in (*shop.registry.pythons, *shop.registry.natives):
        subject = f"toolchain {name}"
        cure = f"phibuild toolchain install {name}   (or let the first build do it)"
        try:
            if not is_installed(shop, name):
                is_native = name in shop.registry.natives
                yield Finding(subject, f"not {'built' if is_native else 'installed'} yet", cure)
                continue
            damage = differences(shop, name, reads=False)
        except PhiError as error:
            yield Finding(subject, error.message, error.hint, is_error=True)
            continue
        if damage:
            more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
            cure = f"phibuild toolchain verify --repair {name}"
            yield Finding(subject, f"damaged: {damage[0]}{more}", cure, is_error=True)
        else:
            yield Finding(subject, "installed")


def _artifacts(shop: Workshop, folder: Path) -> Finding:
    """How artifacts in a folder get their bytes from the store."""
    subject = f"artifacts in {folder}"
    try:
        way = way_to(folder, source=shop.store.marker)
    except PhiError as error:
        return Finding(subject, error.message, error.hint, is_error=True)
    if way is Way.REFLINK:
        return Finding(subject, "reflinks: they share the store's blocks until they are changed")
    if way is Way.HARD_LINK:
        return Finding(
            subject,
            f"hard links to the store's objects, as {LINK}=hard requests: an edit in place changes"
            " the object and each artifact that has it; small files and those of ONNX are copies",
        )
    is_near = folder.stat().st_dev == shop.store.root.stat().st_dev
    why = "this file system has no reflinks" if is_near else "the store is on another file system"
    return Finding(subject, f"copies: {why}; each uses the disk space of its files again")


def _disk() -> Finding:
    root = store_root()
    free = shutil.disk_usage(root).free
    state = f"{root}, {show_size(free)} free"
    if not os.access(root, os.W_OK):
        return Finding("store", f"{root} is not writable", "set PHIBUILD_STORE", is_error=True)
    if free < _SPACE:
        return Finding("store", state, "free some space, or set PHIBUILD_STORE to another disk")
    return Finding("store", state)
