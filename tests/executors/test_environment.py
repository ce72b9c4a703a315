"""What reaches a worker of the environment in which a build was started: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phibuild.executors.environment import worker_environment
from tests.conftest import Project
from tests.environments import hostile, in_environment

WORKER = """\
import json, locale, os, pathlib, phiworker, signal, sys, time
def main(job):
    umask = os.umask(0)
    home = str(job.output.parents[1])
    seen = {
        "environment": dict(os.environ),
        "umask": umask,
        "path": sys.path,
        "flags": str(sys.flags),
        "hash": hash("text"),
        "encodings": [locale.getpreferredencoding(), sys.getfilesystemencoding()],
        "zone": time.tzname,
        "folder": os.getcwd(),
        "ignored": [str(one) for one in signal.valid_signals()
                    if signal.getsignal(one) is signal.SIG_IGN],
    }
    job.output.write_text(json.dumps(seen, indent=1, sort_keys=True).replace(home, "HOME"))
phiworker.run(main)
"""
KINDS = (
    *("language", "python", "libraries", "threads", "kernels"),
    *("toolkits", "compilers", "folders", "limits", "cores"),
)


@pytest.fixture
def seeing(project: Project) -> Project:
    """A project whose artifact is what its worker sees of the machine."""
    project.write("see.py", WORKER)
    project.sconstruct('env.Artifact("dist/seen", worker="see.py", n=1)\n')
    return project


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_sees_the_same_everywhere(seeing: Project, kind: str, tmp_path: Path) -> None:
    here = hostile(tmp_path / "hostile")
    assert tuple(here) == KINDS
    seen = seeing.folder / "dist" / "seen"
    manifest = seen.with_name("seen.phi.json")
    assert seeing.scons().names("built") == ["dist/seen"]
    calm = seen.read_text(), manifest.read_text()
    ran = in_environment(seeing, here[kind])
    assert (ran.status, ran.actions) == (0, []), ran.text
    # The same store, since its path is in what a worker sees, with nothing in it.
    for name in ("results", "objects"):
        store = Path(seeing.environment["PHIBUILD_STORE"])
        (store / name).rename(tmp_path / f"old {name}")
    manifest.unlink()
    seen.unlink()
    ran = in_environment(seeing, here[kind])
    assert ran.names("built") == ["dist/seen"], ran.text
    assert (seen.read_text(), manifest.read_text()) == calm


def test_what_fetches_knows_the_way_to_the_network(tmp_path: Path) -> None:
    user = {"HOME": "/home/u", "PIP_INDEX_URL": "i", "https_proxy": "p", "CC": "cc", "LANG": "de"}
    place = {"workspace": tmp_path, "programs": [Path("/opt/x/bin/cc")], "bytecode": tmp_path}
    fetching = worker_environment(user, **place, network=True)  # type: ignore[arg-type]
    offline = worker_environment(user, **place, network=False)  # type: ignore[arg-type]
    assert set(fetching) - set(offline) == {"PIP_INDEX_URL", "https_proxy"}
    assert fetching["HOME"] == "/home/u"
    assert fetching["PATH"].split(os.pathsep)[0] == "/opt/x/bin"
    assert "CC" not in fetching


def test_an_interpreter_that_needs_its_library_path_gets_that_folder_only(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from phibuild.executors.environment import worker_environment\n"
        "print(worker_environment({'LD_LIBRARY_PATH': sys.argv[1]}, workspace=Path(), programs=[],"
        " bytecode=Path(), network=False).get('LD_LIBRARY_PATH'))"
    )
    maps = Path("/proc/self/maps").read_text().split()
    library = next((word for word in maps if "/libpython" in word), None)
    if library is None:
        pytest.skip("this Python has no library of its own")
    folder = Path(library).parent
    (tmp_path / "link").symlink_to(folder)
    for search, passed in (
        (f"/nowhere:{folder}:{tmp_path}", str(folder)),
        (f"{tmp_path}/link", f"{tmp_path}/link"),
        (str(tmp_path), "None"),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", program, search], check=True, capture_output=True, text=True
        )
        assert ran.stdout.strip() == passed
