"""Deltas of folders: files added, removed and renamed; nothing outside, nothing half done."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from phibuild_delta import records
from phibuild_delta.apply import apply_delta, partial_path
from phibuild_delta.make import make_delta
from phibuild_delta.spaces import File, files_of

from phibuild.model.errors import PackagingError
from tests.conftest import Project

RANDOM = random.Random(5)
WEIGHTS = RANDOM.randbytes(600_000)
OLD = {
    "model.bin": WEIGHTS,
    "config/a.json": b'{"a": 1}',
    "gone/b.txt": b"no longer here",
    "empty": b"",
    "before.bin": WEIGHTS[::-1],
}
NEW = {
    "model.bin": WEIGHTS[:300_000] + b"!" + WEIGHTS[300_001:],
    "config/a.json": b'{"a": 1, "b": 2}',
    "empty": b"",
    "new/c.txt": b"was not here",
    "after.bin": WEIGHTS[::-1],
}


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


class Trees:
    """Two folders, the delta between them, and where it is applied."""

    def __init__(self, folder: Path, window: int = 1 << 20) -> None:
        self.old, self.new = written(folder / "old", OLD), written(folder / "new", NEW)
        (self.new / "new/c.txt").chmod(0o755)
        self.delta, self.result = folder / "delta", folder / "result"
        make_delta(self.old, self.new, self.delta, window=window)
        self.part = partial_path(self.result, self.delta)


@pytest.fixture
def trees(tmp_path: Path) -> Trees:
    return Trees(tmp_path)


def test_files_are_added_removed_renamed_and_changed(trees: Trees) -> None:
    apply_delta(trees.old, trees.delta, trees.result)
    assert read(trees.result) == NEW
    assert [file.is_executable for file in files_of(trees.result)] == [
        file.path == "new/c.txt" for file in files_of(trees.new)
    ]
    assert not trees.part.exists()
    assert trees.delta.stat().st_size < 2000


def test_a_run_that_was_cut_off_at_its_very_end_is_complete(trees: Trees) -> None:
    apply_delta(trees.old, trees.delta, trees.result)
    apply_delta(trees.old, trees.delta, trees.result)
    (trees.result / "model.bin").write_bytes(b"another")
    with pytest.raises(PackagingError, match="already exists"):
        apply_delta(trees.old, trees.delta, trees.result)
    assert (trees.result / "model.bin").read_bytes() == b"another"
    file = trees.result / "model.bin"
    with pytest.raises(PackagingError, match="already exists"):
        apply_delta(trees.old, trees.delta, file)
    assert file.read_bytes() == b"another"


@pytest.mark.parametrize("change", ["gone/b.txt", "model.bin", "more"])
def test_a_wrong_old_folder_is_refused_before_anything_is_written(
    trees: Trees, change: str
) -> None:
    (trees.old / change).write_bytes(b"other")
    with pytest.raises(PackagingError, match="is not what"):
        apply_delta(trees.old, trees.delta, trees.result)
    assert not trees.part.exists()


def test_it_resumes_with_whatever_a_loss_of_power_left(tmp_path: Path) -> None:
    """Files that are short, have pages of zeros or garbage, are missing, or are folders now."""
    trees = Trees(tmp_path, window=4096)
    for _ in range(12):
        for name, content in NEW.items():
            kept = bytearray(content[: RANDOM.randrange(len(content) + 1)])
            for _ in range(5):
                at = RANDOM.randrange(len(kept) + 1) // 4096 * 4096
                kept[at : at + 4096] = RANDOM.choice([bytes(4096), RANDOM.randbytes(4096)])
            if RANDOM.random() < 0.8:
                written(trees.part, {name: bytes(kept)})
        written(trees.part, {"of another update/x": b"x", "new.txt": b""})
        if RANDOM.random() < 0.5:
            (trees.part / "empty").unlink(missing_ok=True)
            written(trees.part, {"empty/is a folder": b""})
        apply_delta(trees.old, trees.delta, trees.result)
        assert read(trees.result) == NEW
        trees.result.rename(tmp_path / f"{RANDOM.random()}")


@pytest.mark.parametrize("kind", ["file", "tree"])
def test_it_resumes_after_kill_9(tmp_path: Path, kind: str) -> None:
    files = {"one": RANDOM.randbytes(6_000_000), "two": RANDOM.randbytes(3_000_000)}
    changed = {"one": files["one"][::-1], "two": bytes(byte ^ 1 for byte in files["two"])}
    old, new = written(tmp_path / "old", files), written(tmp_path / "new", changed)
    if kind == "file":
        old, new = old / "one", new / "one"
    delta, result = tmp_path / "delta", tmp_path / "result"
    make_delta(old, new, delta, window=4096)
    command = [
        sys.executable,
        "-P",
        "-m",
        "phibuild.cli",
        "delta",
        "apply",
        old,
        delta,
        "-o",
        result,
    ]
    killed, part = 0, partial_path(result, delta)
    for _ in range(30):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None and not part.exists():
            time.sleep(0.002)
        time.sleep(RANDOM.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if killed == 5:
            break
        if result.exists():  # it was quicker
            result.unlink() if kind == "file" else shutil.rmtree(result)
    assert killed == 5
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert files_of(result) == files_of(new)
    content = result.read_bytes() if kind == "file" else read(result)
    assert content == (changed["one"] if kind == "file" else changed)
    assert not part.exists()


@pytest.mark.parametrize(
    "paths",
    [
        ["../out"],
        ["/out"],
        ["a/../../out"],
        ["a//b"],
        ["."],
        ["a\\b"],
        ["b", "a"],
        ["a", "a"],
        ["a", "a/b"],
        ["a", "a b", "a/b"],
        [""],
    ],
)
def test_paths_that_leave_the_tree_are_refused(tmp_path: Path, paths: list[str]) -> None:
    old, delta = tmp_path / "old", tmp_path / "delta"
    old.mkdir()
    entries = records.write_files([File(path, 0) for path in paths])
    empty = hashlib.sha256().digest()
    header = records.Header(1, 4096, 0, 0, 0, empty, empty, 0, len(paths), len(entries))
    delta.write_bytes(header.to_bytes() + entries)
    with pytest.raises(PackagingError) as refusal:
        apply_delta(old, delta, tmp_path / "result")
    assert refusal.value.code == "PHI703"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delta", "old"]


def test_links_are_refused(tmp_path: Path) -> None:
    old, new = written(tmp_path / "old", OLD), tmp_path / "new"
    new.mkdir()
    (new / "link").symlink_to("/etc/passwd")
    with pytest.raises(PackagingError, match="is not a regular file"):
        make_delta(old, new, tmp_path / "delta")


def test_a_link_in_what_an_earlier_run_left_is_not_followed(trees: Trees, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"untouched")
    trees.part.mkdir()
    (trees.part / "model.bin").symlink_to(outside)
    (trees.part / "config").symlink_to(tmp_path)
    apply_delta(trees.old, trees.delta, trees.result)
    assert read(trees.result) == NEW
    assert outside.read_bytes() == b"untouched"


def an_mlx_model(folder: Path, first: bytes, second: bytes, more: str) -> Path:
    """Two tensors behind a header whose length `more` decides."""
    header = json.dumps(
        {
            "__metadata__": {"more": more},
            "a.weight": {
                "dtype": "U32",
                "shape": [len(first) // 4],
                "data_offsets": [0, len(first)],
            },
            "b.scales": {
                "dtype": "F16",
                "shape": [len(second) // 2],
                "data_offsets": [len(first), len(first) + len(second)],
            },
        }
    ).encode()
    content = struct.pack("<Q", len(header)) + header + first + second
    written(folder, {"config.json": b"{}", "model.safetensors": content})
    return folder


def test_tensors_are_found_where_a_longer_header_moved_them(tmp_path: Path) -> None:
    first, second = RANDOM.randbytes(80_000), RANDOM.randbytes(8_000)
    changed = bytearray(first)
    changed[500] ^= 3
    old = an_mlx_model(tmp_path / "old", first, second, "")
    new = an_mlx_model(tmp_path / "new", bytes(changed), second, "x" * 333)
    make_delta(old, new, tmp_path / "delta", window=4096)
    assert (tmp_path / "delta").stat().st_size < 3500
    apply_delta(old, tmp_path / "delta", tmp_path / "result")
    assert read(tmp_path / "result") == read(new)


def test_tensors_are_found_in_the_tar_of_a_model_image(project: Project) -> None:
    first, second = RANDOM.randbytes(80_000), RANDOM.randbytes(8_000)
    changed = bytearray(first)
    changed[500] ^= 3
    an_mlx_model(project.folder / "a", first, second, "")
    an_mlx_model(project.folder / "b", bytes(changed), second, "x" * 3333)
    project.sconstruct("".join(f'env.FirmwareImage("{name}.img", "{name}")\n' for name in "ab"))
    ran = project.scons()
    assert ran.status == 0, ran.text
    old, new, delta, result = (project.folder / name for name in ("a.img", "b.img", "d", "result"))
    make_delta(old, new, delta, window=4096)
    assert delta.stat().st_size < 5000
    apply_delta(old, delta, result)
    assert result.read_bytes() == new.read_bytes()
