"""Stores and projects that a user may not read or write: recalled, or one clear error.

The tests run as root and start SCons as somebody else, under a Python that everybody may read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import phibuild
from phibuild.testing.checkpoints import random_checkpoint
from tests.conftest import BUILD, HEADER, WORKER, Ran

USER, OTHER, GROUP = 61_001, 61_002, 61_003
PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
SOURCES = Path(phibuild.__file__).parent.parent


class Shared:
    """A project for each user, and a store."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, root / "store"

    def project(self, user: int) -> Path:
        folder = self.root / str(user)
        if not folder.exists():
            folder.mkdir()
            (folder / "twice.py").write_text(WORKER)
            (folder / "in.txt").write_text("hello ")
            (folder / "SConstruct").write_text(HEADER + BUILD)
            for path in (folder, *folder.iterdir()):
                os.chown(path, user, GROUP)
        return folder

    def scons(self, user: int, *, umask: int = 0o022) -> Ran:
        done = subprocess.run(
            ["/usr/bin/python3", "-P", "-m", "SCons", "-Q"],
            cwd=self.project(user),
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.project(user)),
                "PYTHONPATH": f"{PACKAGES}:{SOURCES}:{SOURCES / 'plugins'}",
                "PHIBUILD_STORE": str(self.store),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=user,
            group=GROUP,
            extra_groups=[],
            umask=umask,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return Ran(done.returncode, done.stdout)

    def new_text(self, user: int, text: str) -> None:
        (self.project(user) / "in.txt").write_text(text)

    def result(self, user: int) -> str:
        return (self.project(user) / "dist" / "copy" / "copy.txt").read_text()


@pytest.fixture
def shared() -> Iterator[Shared]:
    if os.geteuid() != 0:
        pytest.skip("only root can start programs as other users")
    root = Path(tempfile.mkdtemp(dir="/tmp", prefix="phibuild-users-"))
    root.chmod(0o755)
    users = Shared(root)
    users.store.mkdir()
    os.chown(users.store, USER, GROUP)
    users.store.chmod(0o2775)
    probe = subprocess.run(
        [
            "/usr/bin/python3",
            "-c",
            f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]};"
            f"open({phibuild.__file__!r})",
        ],
        user=USER,
        group=GROUP,
        extra_groups=[],
        capture_output=True,
    )
    if probe.returncode != 0:
        shutil.rmtree(root)
        pytest.skip("other users may not read this Python or these sources")
    yield users
    subprocess.run(["chmod", "-R", "u+rwX", root], check=True)
    shutil.rmtree(root)


def test_two_users_of_a_group_share_a_store(shared: Shared) -> None:
    assert shared.scons(USER, umask=0o002).names("built") == ["dist/copy"]
    ran = shared.scons(OTHER, umask=0o002)
    assert ran.names("recalled") == ["dist/copy"], ran.text
    shared.new_text(OTHER, "other ")
    assert shared.scons(OTHER, umask=0o002).names("built") == ["dist/copy"]
    shared.new_text(USER, "other ")
    ran = shared.scons(USER, umask=0o002)
    assert ran.names("recalled") == ["dist/copy"], ran.text


def test_files_of_the_store_are_readable_for_whom_the_umask_says(shared: Shared) -> None:
    shared.scons(USER, umask=0o002)
    modes = {
        path.relative_to(shared.store).parts[0]: path.stat().st_mode & 0o777
        for path in shared.store.rglob("*")
        if path.is_file()
    }
    assert modes["results"] == modes["index.sqlite"] == modes["format"] == 0o664


def test_a_user_who_may_only_read_recalls_and_gets_one_error_for_more(shared: Shared) -> None:
    shared.scons(USER)
    ran = shared.scons(OTHER)
    assert ran.names("recalled") == ["dist/copy"], ran.text
    assert shared.result(OTHER) == "hello hello "
    shared.new_text(OTHER, "other ")
    ran = shared.scons(OTHER)
    assert ran.status == 2
    assert "[PHI302]" in ran.text
    assert "hint: " in ran.text


def without(*parts: str, mode: int = 0) -> Callable[[Shared], None]:
    def forbid(shared: Shared) -> None:
        for part in parts:
            for path in shared.store.glob(part):
                path.chmod(mode)

    return forbid


def of_project(name: str, mode: int) -> Callable[[Shared], None]:
    return lambda shared: (shared.project(USER) / name).chmod(mode)


CASES: dict[str, Callable[[Shared], object]] = {
    "format unreadable": without("format"),
    "index unreadable": without("index.sqlite"),
    "index read-only": without("index.sqlite", mode=0o444),
    "objects unreadable": without("objects/*/*"),
    "objects' folders unreadable": without("objects/*"),
    "objects unlistable": without("objects"),
    "objects read-only": without("objects/*", "objects", mode=0o555),
    "results unreadable": without("results/*"),
    "results' folder unreadable": without("results"),
    "results read-only": without("results", mode=0o555),
    "locks unreadable": without("locks/*"),
    "locks' folder read-only": without("locks", mode=0o555),
    "locks' folder unreadable": without("locks"),
    "work read-only": without("work", mode=0o555),
    "leases unwritable": without("leases", mode=0o555),
    "plugins unreadable": without("plugins/*", "plugins"),
    "store read-only": lambda shared: [
        path.chmod(0o555) for path in (*shared.store.rglob("*"), shared.store) if path.is_dir()
    ],
    "store unreadable": lambda shared: shared.store.chmod(0),
    "target read-only": of_project("dist", 0o555),
    "input unreadable": of_project("in.txt", 0),
    "worker unreadable": of_project("twice.py", 0),
    "manifest unreadable": of_project("dist/copy.phi.json", 0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("work", ["recall", "build"])
def test_what_may_not_be_used_heals_or_is_one_clear_error(
    shared: Shared, name: str, work: str
) -> None:
    assert shared.scons(USER).status == 0
    if work == "recall":
        (shared.project(USER) / "dist" / "copy" / "copy.txt").unlink()
        expected = "hello hello "
    else:
        shared.new_text(USER, "more ")
        expected = "more more "
    CASES[name](shared)
    ran = shared.scons(USER)
    if ran.status == 0:
        assert shared.result(USER) == expected
    else:
        assert "[PHI" in ran.text, ran.text
        assert "hint: " in ran.text, ran.text


@pytest.mark.parametrize("name", [".", "config.json", "tokenizer.json", "model-*.safetensors"])
def test_a_checkpoint_that_may_not_be_read_is_one_clear_error(shared: Shared, name: str) -> None:
    project = shared.project(USER)
    model = random_checkpoint(project / "m", 0.001, seed=1)
    (project / "SConstruct").write_text(HEADER + 'env.GGUF("q8.gguf", env.PhiModel("m"))\n')
    for path in [model] if name == "." else [*model.glob(name)]:
        path.chmod(0)
    ran = shared.scons(USER)
    assert ran.status == 2
    assert "[PHI" in ran.text, ran.text
    assert "hint: " in ran.text, ran.text
