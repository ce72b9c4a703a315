"""What tests use of the machine: the table, what `./run pytest` installs, and what skips report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import HERE, Need, cure, need_of, needs
from tests.machine_setup import set_up
from tests.skips import Allowed, Skip, allowed_skips, refused, summary

ROOT = HERE.parent
NEED = Need(("some-package",), why="a reason", tests=("test_machine.py",), programs=("no-such",))


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that is the whole PATH, with an apt which writes its arguments to a
    log and installs `no-such`. Root runs it directly, and sudo lets others."""
    monkeypatch.delenv("PHIBUILD_TEST_INSTALL", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("sh", "env", "touch", "chmod", "true"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    program(tmp_path / "apt-cache", f'test "$2" = some-package -o -e {tmp_path}/updated')
    program(tmp_path / "sudo", 'shift; exec "$@"')
    program(
        tmp_path / "apt-get",
        f'echo "$@" >> {tmp_path}/log\n'
        f'test "$1" = update && touch {tmp_path}/updated && exit\n'
        f"test ! -e {tmp_path}/fails || exit 100\n"
        f"touch {tmp_path}/no-such && chmod +x {tmp_path}/no-such\n",
    )
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def calls(apt: Path) -> list[str]:
    log = apt / "log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def test_what_is_missing_is_installed_once_and_said(
    apt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up([], [NEED])
    assert calls(apt) == ["install"]
    assert "--no-remove" in (apt / "log").read_text()
    assert (apt / "log").read_text().split()[-1] == "some-package"
    assert "  some-package: a reason\n" in capsys.readouterr().out
    set_up([], [NEED])
    assert calls(apt) == ["install"]
    assert capsys.readouterr().out == ""


def test_apt_is_updated_for_a_package_that_it_does_not_know(apt: Path) -> None:
    program(apt / "apt-cache", f"test -e {apt}/updated")
    set_up([], [NEED])
    assert calls(apt) == ["update", "install"]
    assert (apt / "no-such").exists()


def test_apt_that_fails_is_reported_and_stops_nothing(
    apt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (apt / "fails").touch()
    set_up([], [NEED])
    assert calls(apt) == ["install", "update", "install", "install"]
    assert "apt-get could not install some-package" in capsys.readouterr().out


def test_packages_that_apt_never_heard_of_are_left_alone(
    apt: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(apt / "apt-cache", "exit 100")
    set_up([], [NEED])
    assert calls(apt) == ["update"]
    assert "knows none of these" in capsys.readouterr().out


def test_a_package_that_this_release_lacks_stops_no_other(apt: Path) -> None:
    program(apt / "apt-cache", 'test "$2" = some-package')
    set_up([], [NEED, Need(("old|older",), why="", tests=("test_machine.py",), programs=("gone",))])
    assert (apt / "log").read_text().split()[-1] == "some-package"


def test_without_apt_the_packages_are_named(apt: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (apt / "apt-get").unlink()
    set_up([], [NEED])
    assert "install what Debian packages as some-package\n" in capsys.readouterr().out


@pytest.mark.usefixtures("an_ordinary_user")
@pytest.mark.parametrize("sudo", ["", "exit 1"], ids=["no sudo", "a password is needed"])
def test_without_the_right_to_use_apt_the_command_is_said(
    apt: Path, capsys: pytest.CaptureFixture[str], sudo: str
) -> None:
    (apt / "sudo").unlink()
    if sudo:
        program(apt / "sudo", sudo)
    set_up([], [NEED])
    assert calls(apt) == []
    assert "sudo apt-get install some-package\n" in capsys.readouterr().out


@pytest.fixture
def an_ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("an_ordinary_user")
def test_sudo_is_used_where_it_asks_for_nothing(apt: Path) -> None:
    set_up([], [NEED])
    assert calls(apt) == ["install"]


def test_nothing_is_installed_against_the_users_will(
    apt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHIBUILD_TEST_INSTALL", "0")
    set_up([], [NEED])
    assert calls(apt) == []
    assert "PHIBUILD_TEST_INSTALL=0: nothing is installed" in capsys.readouterr().out


IN_FIRMWARE = ("firmware/test_boards.py",)


@pytest.mark.parametrize(
    ("arguments", "tests", "toolchain", "is_installed"),
    [
        ([], IN_FIRMWARE, True, True),
        (["--collect-only"], IN_FIRMWARE, True, False),
        (["-m", "not toolchain"], IN_FIRMWARE, True, False),
        (["-mnot toolchain"], IN_FIRMWARE, True, False),
        (["-m", "not toolchain"], IN_FIRMWARE, False, True),
        (["-m", "toolchain"], IN_FIRMWARE, True, True),
        (["tests/firmware"], IN_FIRMWARE, False, True),
        (["-x", "tests/firmware/test_boards.py::test_a"], IN_FIRMWARE, False, True),
        (["tests/firmware/test_boards.py"], ("firmware",), False, True),
        (["tests/firmware/test_images.py", "tests/scons"], IN_FIRMWARE, False, False),
        ([], ("bench/test_firmware.py",), False, False),
        (["-m", "bench"], ("bench/test_firmware.py",), False, True),
        (["-m", "bench"], IN_FIRMWARE, False, False),
    ],
)
def test_only_what_the_chosen_tests_use_is_installed(
    apt: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    tests: tuple[str, ...],
    toolchain: bool,
    is_installed: bool,
) -> None:
    monkeypatch.chdir(ROOT)
    need = Need(("some-package",), "", tests, toolchain=toolchain, programs=("no-such",))
    set_up(arguments, [need])
    assert (calls(apt) == ["install"]) is is_installed


def test_the_table_names_tests_that_exist_and_each_program_once() -> None:
    names = [name for need in needs() for name in need.names]
    assert sorted(names) == sorted(set(names))
    for need in needs():
        assert need.why
        assert need.names
        assert all((HERE / test).exists() for test in need.tests)


def test_a_compiler_without_its_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    need = need_of("sodium.h")
    other = Need(
        need.packages,
        need.why,
        need.tests,
        libraries=("sodium.h",),
        command=need.command,
        source="#include <no-such-header.h>\n",
    )
    assert other.is_missing
    monkeypatch.setenv("PATH", "/nowhere")
    assert Need((), "", (), libraries=("a.h",), command=("cc",), source="int a;").is_missing


def test_the_cure_is_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert cure(("a", "b")) == "install what Debian packages as a b"
    assert "needs Debian" in cure(())


def test_the_summary_counts_what_was_missing() -> None:
    missing = [Skip("a", "genimage is missing: x"), Skip("b", "genimage is missing: x")]
    lines = list(summary([*missing, Skip("c", "make is missing: y"), Skip("d", "another")]))
    assert lines[0] == "3 tests were skipped, since this machine lacks"
    assert lines[1].split()[:2] == ["2", "genimage"]
    assert lines[-1] == f"To run them: {cure(('genimage', 'make'))}"
    assert list(summary([Skip("d", "another")])) == []


def test_only_a_listed_skip_is_accepted() -> None:
    skips = [Skip("a", "a reason"), Skip("b", "another")]
    assert refused(skips, (Allowed("a reason", "why"),)) == [Skip("b", "another")]


def test_each_listed_skip_is_one_that_a_test_gives() -> None:
    here = (HERE / "allowed_skips.toml", Path(__file__))
    texts = [path.read_text() for path in HERE.rglob("*.py") if path not in here]
    for allowed in allowed_skips():
        assert allowed.why
        assert any(f'pytest.skip("{allowed.skip}")' in text for text in texts), allowed.skip


@pytest.mark.parametrize(("flags", "status"), [((), 0), (("--strict-skips",), 1)])
def test_a_run_ends_with_what_was_missing(
    tmp_path: Path, flags: tuple[str, ...], status: int
) -> None:
    """Genimage is missing, since nothing is on the PATH."""
    command = [sys.executable, "-m", "pytest", "-n0", "tests/firmware/test_descriptions.py"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-k", "genimage", *flags],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == status, done.stdout
    lines = done.stdout.splitlines()
    assert lines[-3] == "2 tests were skipped, since this machine lacks"
    assert lines[-2].split()[:2] == ["2", "genimage"]
    assert lines[-1] == "To run them: install what Debian packages as genimage"
    assert ("has no reason for" in done.stdout) is bool(flags)
