"""`phibuild store`: what is in the store."""

from __future__ import annotations

import click

from phibuild.model.sizes import show_size
from phibuild.store import Store, store_root


@click.group("store")
def command() -> None:
    """Look at the store."""


@command.command("stat")
def stat() -> None:
    """Say where the store is, and how much it holds."""
    store = Store(store_root())
    click.echo(f"store       {store.root}")
    for name, what in (("objects", "files"), ("results", "action results")):
        files = [path for path in (store.root / name).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        click.echo(f"{name:<11} {len(files)} {what}, {show_size(size)}")
    for name in ("toolchains", "uv", "bytecode"):
        click.echo(f"{name:<11} {show_size(_size_of(store, name))}")


def _size_of(store: Store, name: str) -> int:
    """Bytes on disk; a file linked from several places counts once."""
    inodes = {}
    for path in (store.root / name).rglob("*"):
        if path.is_file() and not path.is_symlink():
            found = path.stat()
            inodes[found.st_ino] = found.st_size
    return sum(inodes.values())
