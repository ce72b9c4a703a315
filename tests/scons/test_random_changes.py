"""Random changes of code, environment, moments and kinds of files, built one after the other: the
result is that of a clean build with an empty store.

The worker writes down all that it can see: whatever reaches it and is in no key makes the two
differ. RANDOM_EDITS=200 makes 200 random examples.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import Project

EXAMPLES = int(os.environ.get("RANDOM_EDITS", "0")) or 4
NUMBERS = itertools.count()

WORKER = """\
import json, os, sys
import phiworker
from parts import first
import helper

SALT = 0

def seen(path):
    if path.is_dir():
        return {child.name: seen(child) for child in sorted(path.iterdir())}
    return [path.read_text(), os.access(path, os.X_OK)]

def main(job):
    shown = job.inputs["text"]
    places = {"HOME", "TMPDIR", "PYTHONPATH", "PYTHONPYCACHEPREFIX"}
    variables = {
        name: value for name, value in os.environ.items()
        if name not in places and not name.startswith("PHIBUILD_")
    }
    modules = [SALT, helper.SALT, first.SALT]
    document = [shown.name, seen(shown), modules, variables, job.recipe, os.getcwd() == "/"]
    job.output.write_text(json.dumps(document, sort_keys=True))

phiworker.run(main)
"""
JOIN = """\
import phiworker

def main(job):
    job.output.write_text("joined " + job.inputs["part"].read_text() + str(job.recipe["times"]))

phiworker.run(main)
"""
SCONSTRUCT = """\
part = env.Artifact("dist/part.json", worker="worker.py", modules=["helper.py", "parts"],
                    inputs={{"text": {source!r}}}, level={level})
env.Artifact("dist/joined.txt", worker="join.py", inputs={{"part": part}}, times={times})
"""
VARIABLES = {
    "LANG": ("de_DE.UTF-8", "C"),
    "LC_ALL": ("tr_TR.UTF-8",),
    "LD_LIBRARY_PATH": ("/nowhere",),
    "PYTHONPATH": ("/nowhere", "."),
    "PYTHONHASHSEED": ("7",),
    "PYTHONOPTIMIZE": ("2",),
    "OMP_NUM_THREADS": ("1", "7"),
    "OPENBLAS_CORETYPE": ("Haswell",),
    "CFLAGS": ("-O0",),
    "CC": ("/bin/false",),
    "SDKROOT": ("/nowhere",),
    "TZ": ("Asia/Tokyo",),
    "SOURCE_DATE_EPOCH": ("1234567",),
    "MY_OWN": ("x", "y"),
}


@dataclass
class State:
    """A project that is changed; `variables` are those of the shell that builds."""

    project: Project
    source: str = "in.txt"
    level: int = 1
    times: int = 1
    variables: dict[str, str] = field(default_factory=dict)

    def build(self, store: Path | None = None) -> dict[str, str]:
        self.project.sconstruct(
            SCONSTRUCT.format(source=self.source, level=self.level, times=self.times)
        )
        other = {"PHIBUILD_STORE": str(store)} if store else {}
        ran = self.project.scons("-s", **self.variables, **other)
        assert ran.status == 0, ran.text
        dist = self.project.folder / "dist"
        return {name: (dist / name).read_text() for name in ("part.json", "joined.txt")}


Change = Callable[[State], None]


def of_code(name: str, number: int, *, keeps_time: bool) -> Change:
    def change(state: State) -> None:
        path = state.project.folder / name
        before = path.stat()
        lines = [line for line in path.read_text().splitlines() if not line.startswith("SALT")]
        at = lines.index("import helper") + 1 if "import helper" in lines else 0
        path.write_text("\n".join([*lines[:at], f"SALT = {number}", *lines[at:], ""]))
        if keeps_time:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


def of_source(kind: str, number: int) -> Change:
    """The input becomes a file of some suffix and mode, a link, or a folder."""

    def change(state: State) -> None:
        folder = state.project.folder
        state.source = f"in{number}{kind if kind.startswith('.') else ''}"
        path = folder / state.source
        if path.is_symlink() or path.is_file():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)
        if kind == "folder":
            for name in ("a.txt", "sub/b.txt", "build/c.txt", ".git/d.txt"):
                state.project.write(f"{state.source}/{name}", f"{name} {number}")
            (path / "linked").symlink_to(folder / "parts")
        elif kind == "link":
            state.project.write("linked.txt", f"text {number}")
            path.symlink_to("linked.txt")
        else:
            state.project.write(state.source, f"text {number % 2}")
            path.chmod(0o755 if kind == ".sh" else 0o644)

    return change


def of_text(number: int, *, keeps_time: bool) -> Change:
    def change(state: State) -> None:
        path = state.project.folder / state.source
        path = path / "a.txt" if path.is_dir() else path
        before = path.stat()
        path.write_text(f"text {number}")
        if keeps_time:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


def of_mode(mode: int) -> Change:
    def change(state: State) -> None:
        path = state.project.folder / state.source
        path = path / "a.txt" if path.is_dir() else path
        path.chmod(mode)

    return change


def of_variable(name: str, value: str) -> Change:
    return lambda state: state.variables.update({name: value})


def of_recipe(level: int, times: int) -> Change:
    def change(state: State) -> None:
        state.level, state.times = level, times

    return change


def of_artifact(name: str, *, deletes: bool) -> Change:
    def change(state: State) -> None:
        path = state.project.folder / "dist" / name
        path.chmod(0o644)
        path.unlink() if deletes else path.write_text("damaged")

    return change


CODE = ("worker.py", "helper.py", "parts/first.py")
SMALL = st.integers(0, 3)
CHANGES = st.one_of(
    st.tuples(st.sampled_from(CODE), SMALL, st.booleans()).map(
        lambda drawn: (f"code {drawn}", of_code(drawn[0], drawn[1], keeps_time=drawn[2]))
    ),
    st.tuples(st.sampled_from([".txt", ".md", ".sh", "link", "folder"]), SMALL).map(
        lambda drawn: (f"source {drawn}", of_source(*drawn))
    ),
    st.tuples(SMALL, st.booleans()).map(
        lambda drawn: (f"text {drawn}", of_text(drawn[0], keeps_time=drawn[1]))
    ),
    st.sampled_from([0o644, 0o755]).map(lambda mode: (f"mode {mode:o}", of_mode(mode))),
    st.sampled_from([(name, value) for name, values in VARIABLES.items() for value in values]).map(
        lambda drawn: (f"variable {drawn}", of_variable(*drawn))
    ),
    st.tuples(SMALL, SMALL).map(lambda drawn: (f"recipe {drawn}", of_recipe(*drawn))),
    st.tuples(st.sampled_from(["part.json", "joined.txt"]), st.booleans()).map(
        lambda drawn: (f"artifact {drawn}", of_artifact(drawn[0], deletes=drawn[1]))
    ),
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(changes=st.lists(CHANGES, min_size=4, max_size=8))
def test_what_stands_there_is_what_a_clean_build_makes(
    tmp_path: Path, changes: list[tuple[str, Change]]
) -> None:
    number = next(NUMBERS)
    project = Project(tmp_path / f"{number}", {"PHIBUILD_STORE": str(tmp_path / "store")})
    project.folder.mkdir()
    for name, text in {
        "worker.py": WORKER,
        "join.py": JOIN,
        "helper.py": "SALT = 0\n",
        "parts/first.py": "SALT = 0\n",
        "in.txt": "text 0",
    }.items():
        project.write(name, text)
    state = State(project)
    state.build()
    for _, change in changes:
        change(state)
        built = state.build()
    clean = tmp_path / f"clean-{number}"
    shutil.copytree(project.folder, clean, symlinks=True)
    shutil.rmtree(clean / "dist")
    (clean / ".sconsign.dblite").unlink()
    other = State(Project(clean), state.source, state.level, state.times)
    assert built == other.build(tmp_path / f"store-{number}"), [name for name, _ in changes]
    shutil.rmtree(clean)
    shutil.rmtree(tmp_path / f"store-{number}")
