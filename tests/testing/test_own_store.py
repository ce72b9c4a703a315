"""The tests leave the developer's store alone, except for its toolchains."""

from __future__ import annotations

from phibuild.store import store_root


def test_only_toolchains_are_shared() -> None:
    links = {path.name for path in store_root().iterdir() if path.is_symlink()}
    assert store_root().name.endswith("-tests")
    assert links == {"toolchains", "uv", "bytecode"}


def test_what_toolchains_are_linked_from_is_shared() -> None:
    """Packages are hard links into uv's cache, which has to be on the same file system."""
    root = store_root()
    assert (root / "uv").resolve().parent == (root / "toolchains").resolve().parent
