"""What an action read is what its key says, whoever else uses the same files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from phibuild.engine.workshop import Workshop
from phibuild.model.digest import Digest
from phibuild.model.manifest import SUFFIX, Manifest
from phibuild.registry import load_registry
from phibuild.source import Checkpoint
from phibuild.store import Store, place_artifact
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop.of(Store(tmp_path / "store"), load_registry())


@pytest.fixture
def read(shop: Workshop, tmp_path: Path) -> Checkpoint:
    write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=1, shards=1)
    return shop.sources.checkpoint(tmp_path / "tiny")


def test_a_file_that_somebody_links_is_the_same(shop: Workshop, read: Checkpoint) -> None:
    (read.folder / "other").hardlink_to(read.shards[0])
    assert not shop.sources.has_same_files(read)
    assert shop.sources.is_unchanged(read)


def test_a_checkpoint_that_another_build_puts_in_its_place_too_is_the_same(
    shop: Workshop, tmp_path: Path
) -> None:
    """Large files may be hard links to objects on request, whose times move with each placement."""
    write_checkpoint(tmp_path / "new", FAMILIES["phi-3"], layers=1, shards=1)
    tree = shop.store.put(tmp_path / "new")
    ours = tmp_path / "ours" / "tiny"
    place_artifact(shop.store, tree, ours, known=None)
    manifest = Manifest("tiny", "artifact", Digest.of(b"a key"), 0, tree)
    Path(f"{ours}{SUFFIX}").write_text(manifest.to_text())
    read = shop.sources.checkpoint(ours)
    os.utime(ours / "model.safetensors", ns=(0, 10**9))  # another build's link is the same file
    place_artifact(shop.store, tree, tmp_path / "theirs" / "tiny", known=None)
    assert not shop.sources.has_same_files(read)
    assert shop.sources.is_unchanged(read)


def test_bytes_that_change_under_a_kept_time_are_not(shop: Workshop, read: Checkpoint) -> None:
    path = read.shards[0]
    stat = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not shop.sources.is_unchanged(read)


def test_a_file_that_is_written_again_is_not(shop: Workshop, read: Checkpoint) -> None:
    path = read.shards[0]
    path.write_bytes(path.read_bytes())
    assert not shop.sources.is_unchanged(read)
    path.unlink()
    assert not shop.sources.is_unchanged(read)
