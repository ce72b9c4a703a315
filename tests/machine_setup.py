"""`./run pytest` installs what the chosen tests use of the machine, where apt-get may be used.

Standard library only: `run` calls this before it starts pytest. Nothing here stops the tests: what
is still missing afterwards is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path

from tests.machine import HERE, OPT_OUT, Need, cure, is_known, package_here

_RUNS_NO_TEST = ("-h", "--help", "--version", "-V", "--co", "--collect-only", "--collectonly")
_RUNS_NO_TEST += ("--fixtures", "--funcargs", "--fixtures-per-test", "--markers", "--setup-plan")
# Nothing that is installed is removed for it, and another apt at work is waited for.
_INSTALL = ("apt-get", "install", "-y", "-q", "--no-remove", "-o", "DPkg::Lock::Timeout=60")


def set_up(arguments: Sequence[str], table: Sequence[Need]) -> None:
    """Install what the tests chosen by pytest's arguments use and this machine lacks."""
    if set(arguments) & set(_RUNS_NO_TEST):
        return
    chosen = [need for need in table if need.packages and _is_chosen(need, arguments)]
    with ThreadPoolExecutor() as pool:
        missing = [*compress(chosen, pool.map(_is_missing, chosen))]
    if not missing:
        return
    if os.environ.get(OPT_OUT) == "0":
        _say(f"{OPT_OUT}=0: nothing is installed, and tests that lack something are skipped")
        return
    root = _root()
    if root is None:
        _say("tests that need these are skipped, since apt-get or the right to use it is missing:")
        _list(missing)
        _say(cure(_packages(missing)))
        return
    _say(f"installing what tests use and this machine lacks ({OPT_OUT}=0 prevents it):")
    _list(missing)
    _install(root, _packages(missing))


def _is_chosen(need: Need, arguments: Sequence[str]) -> bool:
    """Whether any test that pytest's arguments choose may use it: files and folders, and the two
    marks that are in daily use."""
    marks = _marks(arguments)
    if need.toolchain and "not toolchain" in marks:
        return False
    is_bench = "bench" in marks and "not bench" not in marks
    files = [test for test in need.tests if test.startswith("bench") == is_bench]
    paths = [
        Path(argument.partition("::")[0]) for argument in arguments if not argument.startswith("-")
    ]
    places = [path.resolve() for path in paths if path.exists()] or [HERE]
    return any(
        (HERE / file).is_relative_to(place) or place.is_relative_to(HERE / file)
        for file in files
        for place in places
    )


def _marks(arguments: Sequence[str]) -> str:
    """The expression of `-m`, in each of the ways that it may be written."""
    for position, argument in enumerate(arguments):
        if argument == "-m":
            return " ".join(arguments[position + 1 : position + 2])
        if argument.startswith("-m"):
            return argument[2:].removeprefix("=")
    return ""


def _is_missing(need: Need) -> bool:
    return need.is_missing


def _packages(missing: Iterable[Need]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for need in missing for name in need.packages))


def _root() -> list[str] | None:
    """What to put before a command so that root runs it; None where that is not possible."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    may = sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)
    return [sudo, "-n"] if sudo and may and may.returncode == 0 else None


def _install(root: list[str], packages: tuple[str, ...]) -> None:
    """In one go, else one by one, so that one which is not to be had here takes no other along."""
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]
    if not all(is_known(package_here(name)) for name in packages):
        _run([*apt, "apt-get", "update", "-q"])
        package_here.cache_clear()
    known = [name for name in map(package_here, packages) if is_known(name)]
    if not known:
        return _say("apt-get knows none of these, even after an update: is there a network?")
    error = _run([*apt, *_INSTALL, *known])
    if error:  # the lists of packages may be older than the archive
        _run([*apt, "apt-get", "update", "-q"])
        error = _run([*apt, *_INSTALL, *known])
    if "Could not get lock" in error:
        return _say(f"another program holds apt's lock; nothing is installed\n{error}")
    for name in known if error else ():
        error = _run([*apt, *_INSTALL, name])
        if error:
            _say(f"apt-get could not install {name}; tests that need it are skipped\n{error}")
    return None


def _run(command: list[str]) -> str:
    """The last lines of a command that failed; nothing of one that did not."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return "" if done.returncode == 0 else "\n".join(done.stdout.splitlines()[-5:]) or "it failed"


def _list(missing: Iterable[Need]) -> None:
    for need in missing:
        names = ", ".join(map(package_here, need.packages))
        print(f"  {names}: {need.why}", flush=True)


def _say(text: str) -> None:
    print(f"run: {text}", flush=True)
