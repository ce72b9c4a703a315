"""What was seen of a file holds until the file changes, however cleverly."""

import os
from pathlib import Path

from phibuild.model.digest import Digest
from phibuild.store import Index


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    path = tmp_path / "file"
    path.write_text("one")
    assert index.digest_of(path) == Digest.of(b"one")
    assert index.recall(path, "digest") == str(Digest.of(b"one"))
    path.write_text("two")
    assert index.recall(path, "digest") is None
    assert index.digest_of(path) == Digest.of(b"two")


def test_a_change_under_a_kept_time_is_found(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    path = tmp_path / "file"
    path.write_text("one")
    index.digest_of(path)
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert index.digest_of(path) == Digest.of(b"two")


def test_what_was_learnt_survives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    first = Index(tmp_path / "index.sqlite")
    first.digest_of(path)
    first.close()
    assert Index(tmp_path / "index.sqlite").recall(path, "digest") == str(Digest.of(b"one"))
