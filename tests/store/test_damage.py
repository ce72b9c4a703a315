"""A damaged store heals: the next build succeeds with the right bytes, whatever was done to it.

The tests of a file share one store, so that each also begins with what the one before has healed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import HEADER, WORKER, Project

BUILDS = """\
env.Artifact("dist/same", worker="twice.py", inputs={"text": "same.txt"}, times=2)
env.Artifact("dist/new", worker="twice.py", inputs={"text": "new.txt"}, times=2)
"""
DEEP = "[" * 5_000
Damage = Callable[[Path], object]
"""What is done to the store in this folder."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("damage")
    (folder / "project").mkdir()
    project = Project(folder / "project", {"PHIBUILD_STORE": str(folder / "store")})
    project.write("twice.py", WORKER)
    project.write("same.txt", "the same ")
    project.write("new.txt", "new ")
    project.write("SConstruct", HEADER + BUILDS)
    return project


@pytest.fixture
def project(shared: Project) -> Iterator[Project]:
    """The project, built; its store is thrown away after a failure."""
    ran = shared.scons("-s")
    if ran.status != 0:
        shutil.rmtree(shared.environment["PHIBUILD_STORE"])
        ran = shared.scons("-s")
        assert ran.status == 0, ran.text
    yield shared


def any_file(folder: Path, pattern: str = "*") -> Path:
    """The largest file that matches."""
    return max(
        (path for path in folder.rglob(pattern) if path.is_file()),
        key=lambda path: (path.stat().st_size, path.name),
    )


def replace_by(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put something else where a file or folder is."""

    def replace(path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        make(path)

    return replace


a_file = replace_by(lambda path: path.write_text("damage"))
a_folder = replace_by(Path.mkdir)
a_full_folder = replace_by(lambda path: (path / "damage").mkdir(parents=True))
a_link_to_nothing = replace_by(lambda path: path.symlink_to("/nowhere/at/all"))
gone = replace_by(lambda path: None)


def text(content: str | bytes) -> Callable[[Path], None]:
    """Write this over a file, whatever its mode."""

    def write(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def truncated(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def in_the_middle(path: Path) -> None:
    """Keep the beginning, such as a database's header."""
    with path.open("r+b") as stream:
        stream.seek(min(2000, path.stat().st_size // 2))
        stream.write(os.urandom(max(100, path.stat().st_size - 2100)))


def sql(*statements: str) -> Callable[[Path], None]:
    def execute(path: Path) -> None:
        database = sqlite3.connect(path, isolation_level=None)
        for statement in statements:
            database.execute(statement)
        database.close()

    return execute


def another_database(path: Path) -> None:
    gone(path)
    sql("CREATE TABLE tunes (name TEXT)", "INSERT INTO tunes VALUES ('mine')")(path)


def every_value_is_damage(path: Path) -> None:
    sql(
        "UPDATE files SET value='damage'",
        f"UPDATE placed SET files='{DEEP}'",
        "UPDATE slices SET items='{'",
    )(path)


def of_all(folder: str, damage: Callable[[Path], object], pattern: str = "*") -> Damage:
    """Do it to every file in a folder of the store."""

    def damage_all(root: Path) -> None:
        for path in [path for path in (root / folder).rglob(pattern) if path.is_file()]:
            damage(path)

    return damage_all


def of(name: str, damage: Callable[[Path], object]) -> Damage:
    return lambda root: damage(root / name)


def results_of_other_keys(root: Path) -> None:
    """Each result under the key of the next."""
    paths = sorted((root / "results").iterdir())
    texts = [path.read_text() for path in paths]
    for path, other in zip(paths, texts[1:] + texts[:1], strict=True):
        path.write_text(other)


def results_with(**changes: object) -> Damage:
    def change(path: Path) -> None:
        with contextlib.suppress(ValueError, TypeError):  # an earlier test damaged it
            path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return of_all("results", change)


def objects_swapped(root: Path) -> None:
    """Each object with the bytes of another."""
    paths = sorted(path for path in (root / "objects").rglob("*") if path.is_file())
    contents = [path.read_bytes() for path in paths]
    for path, other in zip(paths, contents[1:] + contents[:1], strict=True):
        text(other)(path)


def link_to_another_file(path: Path) -> None:
    other = path.parent.parent.parent / "format"
    path.unlink()
    path.symlink_to(other)


INDEX = "index.sqlite"
DAMAGES: dict[str, Damage] = {
    "index is empty": of(INDEX, text("")),
    "index is truncated": of(INDEX, truncated),
    "index has one byte": of(INDEX, text("S")),
    "index is garbage": of(INDEX, text(os.urandom(40_000))),
    "index is damaged behind its header": of(INDEX, in_the_middle),
    "index is older": of(INDEX, sql("PRAGMA user_version=0")),
    "index is newer": of(INDEX, sql("PRAGMA user_version=2000000000")),
    "index lacks a table": of(INDEX, sql("DROP TABLE files", "DROP TABLE placed")),
    "index has other columns": of(
        INDEX, sql("DROP TABLE files", "CREATE TABLE files (path TEXT PRIMARY KEY)")
    ),
    "index is another program's": of(INDEX, another_database),
    "index holds damage": of(INDEX, every_value_is_damage),
    "index is a folder": of(INDEX, a_folder),
    "index is a folder with something in it": of(INDEX, a_full_folder),
    "index is a link to nothing": of(INDEX, a_link_to_nothing),
    "index is gone": of(INDEX, gone),
    "index has a log of garbage": of(f"{INDEX}-wal", text(os.urandom(40_000))),
    "index has a folder for its log": of(f"{INDEX}-wal", a_folder),
    "index has shared memory of garbage": of(f"{INDEX}-shm", text(os.urandom(32_768))),
    "index has a folder for its shared memory": of(f"{INDEX}-shm", a_folder),
    "format is empty": of("format", text("")),
    "format is garbage": of("format", text(os.urandom(100))),
    "format is a folder": of("format", a_full_folder),
    "format is a link to nothing": of("format", a_link_to_nothing),
    "format is gone": of("format", gone),
    "objects is a file": of("objects", a_file),
    "objects is gone": of("objects", gone),
    "objects are in files for folders": lambda root: [
        a_file(path) for path in (root / "objects").iterdir()
    ],
    "objects are empty": of_all("objects", text("")),
    "objects are truncated": of_all("objects", truncated),
    "objects are changed": of_all("objects", text("changed")),
    "objects are swapped": objects_swapped,
    "objects are folders": of_all("objects", a_full_folder),
    "objects are links to nothing": of_all("objects", a_link_to_nothing),
    "objects are links to other files": of_all("objects", link_to_another_file),
    "objects are gone": of_all("objects", gone),
    "objects are writable": of_all("objects", lambda path: path.chmod(0o666)),
    "objects are executable": of_all("objects", lambda path: path.chmod(0o777)),
    "results is a file": of("results", a_file),
    "results is gone": of("results", gone),
    "results are empty": of_all("results", text("")),
    "results are truncated": of_all("results", truncated),
    "results are garbage": of_all("results", text(os.urandom(1000))),
    "results are nested deep": of_all("results", text(DEEP)),
    "results are lists": of_all("results", text("[]")),
    "results are nothing": of_all("results", text("null")),
    "results are those of other keys": results_of_other_keys,
    "results have no files": results_with(tree=None),
    "results have numbers for texts": results_with(action=1, facts=[[1, 2]], maker=3),
    "results have files outside": results_with(
        tree=[{"path": "../x", "digest": f"sha256:{'0' * 64}", "size": 1, "executable": False}]
    ),
    "results have a list of inputs": results_with(inputs=[1]),
    "results have endless seconds": results_with(seconds=10**400, peak_bytes="many"),
    "results are folders": of_all("results", a_full_folder),
    "results are links to nothing": of_all("results", a_link_to_nothing),
    "locks is a file": of("locks", a_file),
    "locks are folders": of_all("locks", a_folder),
    "locks are links to nothing": of_all("locks", a_link_to_nothing),
    "locks are garbage": of_all("locks", text(os.urandom(50))),
    "leases is a file": of("leases", a_file),
    "leases are garbage": of("leases", lambda path: text(os.urandom(99))(path / "1-abc")),
    "work is a file": of("work", a_file),
    "work holds files": of("work", lambda path: (path / "x").write_text("x")),
    "logs is a file": of("logs", a_file),
    "plugins is a file": of("plugins", a_file),
    "plugins are garbage": of_all("plugins", text(os.urandom(100))),
    "plugins are nested deep": of_all("plugins", text(DEEP)),
    "plugins are folders": of_all("plugins", a_folder),
    "bytecode is a file": of("bytecode", a_file),
    "bytecode is truncated": of_all("bytecode", truncated, "*.pyc"),
    "bytecode is garbage": of_all("bytecode", text(b"garbage")),
    "bytecode is empty": of_all("bytecode", text(b"")),
    "toolchains is a file": of("toolchains", a_file),
    "limit is garbage": of("limit", text(os.urandom(30))),
    "limit is a folder": of("limit", a_folder),
    "pins are garbage": of("pins", a_file),
    "all files are empty": lambda root: [
        text("")(path) for path in root.rglob("*") if path.is_file()
    ],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_the_next_build_heals_it(project: Project, name: str) -> None:
    root = Path(project.environment["PHIBUILD_STORE"])
    DAMAGES[name](root)
    project.write("new.txt", f"{name} ")
    shutil.rmtree(project.folder / "dist")
    ran = project.scons()
    assert "Traceback" not in ran.text, ran.text
    assert ran.status == 0, ran.text
    assert (project.folder / "dist" / "same" / "copy.txt").read_text() == "the same the same "
    assert (project.folder / "dist" / "new" / "copy.txt").read_text() == f"{name} {name} "
    assert ran.text.count("phibuild: ") <= 3, ran.text


def test_what_is_built_after_an_index_was_lost_is_remembered(project: Project) -> None:
    root = Path(project.environment["PHIBUILD_STORE"])
    text(os.urandom(40_000))(root / INDEX)
    assert "phibuild: " in project.scons().text
    assert project.scons().text == "scons: `.' is up to date.\n"


def test_another_phibuilds_format_is_left_alone(tmp_path: Path, project: Project) -> None:
    root = tmp_path / "store"
    shutil.copytree(project.environment["PHIBUILD_STORE"], root, symlinks=True)
    (root / "format").write_text("phibuild-store/7\n")
    ran = project.scons(PHIBUILD_STORE=str(root))
    assert "[PHI301]" in ran.text
    assert "update phibuild" in ran.text
    assert (root / "format").read_text() == "phibuild-store/7\n"


def test_a_part_that_is_a_link_to_nothing_is_one_clear_error(project: Project) -> None:
    """It may lead to a disk that is not mounted now."""
    root = Path(project.environment["PHIBUILD_STORE"])
    shutil.move(root / "objects", root.parent / "elsewhere")
    (root / "objects").symlink_to(root.parent / "nowhere")
    shutil.rmtree(project.folder / "dist")
    ran = project.scons()
    assert "Traceback" not in ran.text
    assert "[PHI302]" in ran.text
    assert "objects" in ran.text
    (root / "objects").unlink()
    (root / "objects").symlink_to(root.parent / "elsewhere")
    ran = project.scons()
    assert sorted(ran.names("recalled")) == ["dist/new", "dist/same"], ran.text
    (root / "objects").unlink()
    shutil.move(root.parent / "elsewhere", root / "objects")
