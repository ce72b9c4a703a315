"""The host pattern in SCons, with a worker that needs no toolchain."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import BUILD, HEADER, WORKER, Project
from tests.disks import tmpfs


def text_of(project: Project) -> str:
    return (project.folder / "dist" / "copy" / "copy.txt").read_text()


def test_it_builds_once_and_then_nothing(copying: Project) -> None:
    assert copying.scons().names("built") == ["dist/copy"]
    assert text_of(copying) == "hello hello "
    again = copying.scons()
    assert again.text == "scons: `.' is up to date.\n"


@pytest.mark.parametrize("typed", ["dist/copy", "./dist/copy", "{folder}/dist/copy", "dist"])
def test_an_artifact_path_typed_builds_it(copying: Project, typed: str) -> None:
    ran = copying.scons(typed.format(folder=copying.folder))
    assert ran.names("built") == ["dist/copy"]


def test_clean_removes_all_of_it(copying: Project) -> None:
    copying.scons()
    copying.scons("-c")
    left = {path.name for path in copying.folder.rglob("*") if path.is_file()}
    assert left == {"SConstruct", "in.txt", "twice.py", ".sconsign.dblite"}


def test_a_dry_run_changes_nothing(copying: Project) -> None:
    ran = copying.scons("-n")
    assert "make dist/copy" in ran.text
    assert not (copying.folder / "dist").exists()


def test_what_was_deleted_or_tampered_with_comes_back(copying: Project) -> None:
    copying.scons()
    for spoil in (
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.write_text("other")),
        lambda path: (path.chmod(0o644), path.write_text("written in place")),
    ):
        spoil(copying.folder / "dist" / "copy" / "copy.txt")
        assert copying.scons().status == 0
        assert text_of(copying) == "hello hello "
        assert copying.scons().text == "scons: `.' is up to date.\n"


def test_deleting_everything_computes_nothing(copying: Project) -> None:
    copying.scons()
    copying.scons("-c")
    (copying.folder / ".sconsign.dblite").unlink()
    ran = copying.scons()
    assert ran.names("recalled") == ["dist/copy"]
    assert ran.actions == []


def test_a_moved_checkout_shares_results(copying: Project, tmp_path: Path) -> None:
    copying.scons()
    moved = Project(tmp_path / "elsewhere", copying.environment)
    copying.folder.rename(moved.folder)
    assert moved.scons().actions == []


def test_an_edit_and_its_revert(copying: Project) -> None:
    copying.scons()
    copying.write("in.txt", "bye ")
    assert copying.scons().actions == ["twice"]
    copying.write("in.txt", "hello ")
    assert copying.scons().names("recalled") == ["dist/copy"]
    assert text_of(copying) == "hello hello "


def test_a_changed_worker_or_recipe_works_again(copying: Project) -> None:
    copying.scons()
    copying.sconstruct(BUILD.replace("times=2", "times=3"))
    assert copying.scons().actions == ["twice"]
    copying.write("twice.py", WORKER.replace('"more"', '"less"'))
    assert copying.scons().actions == ["twice"]


def test_a_rule_of_the_users_own_takes_an_artifact(copying: Project) -> None:
    copying.sconstruct(
        BUILD + 'env.Command("a.txt", a, "cat $SOURCE/copy.txt > $TARGET")\n'
        'env.Command("b.txt", "dist/copy", "cat $SOURCE/copy.txt > $TARGET")\n'
    )
    copying.scons()
    assert (copying.folder / "a.txt").read_text() == "hello hello "
    copying.write("in.txt", "bye ")
    copying.scons("-j4")
    assert (copying.folder / "a.txt").read_text() == (copying.folder / "b.txt").read_text()
    assert (copying.folder / "a.txt").read_text() == "bye bye "
    assert copying.scons().text == "scons: `.' is up to date.\n"


def test_artifacts_may_be_declared_in_an_sconscript(copying: Project) -> None:
    (copying.folder / "sub").mkdir()
    for name in ("twice.py", "in.txt"):
        (copying.folder / name).rename(copying.folder / "sub" / name)
    copying.write("sub/SConscript", HEADER + BUILD + 'env.Alias("mine", a)\n')
    copying.write("SConstruct", 'SConscript("sub/SConscript")\n')
    assert copying.scons("sub/dist/copy").names("built") == ["sub/dist/copy"]
    assert copying.scons("mine").status == 0


def test_a_failure_is_one_error_and_leaves_the_previous_artifact(copying: Project) -> None:
    copying.scons()
    copying.write("in.txt", "fail")
    ran = copying.scons()
    assert ran.status == 2
    assert "[PHI401] the text says fail\n  hint: write another" in ran.text
    assert "Traceback" not in ran.text
    assert text_of(copying) == "hello hello "
    assert (copying.folder / "dist" / "copy.phi.json").is_file()
    assert not list((copying.folder / "dist").glob(".*"))


def test_a_mistake_in_the_sconstruct_names_its_line(copying: Project) -> None:
    copying.sconstruct(BUILD + BUILD)
    ran = copying.scons()
    assert ran.status == 2
    assert "[PHI205] two targets have the path dist/copy" in ran.text
    assert "SConstruct, line 5." in ran.text
    assert "Traceback" not in ran.text


def waiting_build(copying: Project, *, started: Path) -> "subprocess.Popen[str]":
    """Start a build whose worker waits, and return when the worker does."""
    copying.write("in.txt", f"wait {started}")
    build = subprocess.Popen(
        [sys.executable, "-P", "-m", "SCons", "-Q"],
        cwd=copying.folder,
        env={**os.environ, **copying.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not started.exists():
        assert build.poll() is None, build.communicate()[0]
        time.sleep(0.05)
    return build


def workers_of(project: Project) -> list[int]:
    """Processes that run a worker from the project's store."""
    code = os.fsencode(f"{project.environment['PHIBUILD_STORE']}/code/")
    workers = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(code) for word in words):
            workers.append(int(path.parent.name))
    return workers


def test_a_killed_worker_is_one_clear_error(copying: Project, tmp_path: Path) -> None:
    copying.scons()
    build = waiting_build(copying, started=tmp_path / "started")
    (worker,) = workers_of(copying)
    os.kill(worker, signal.SIGKILL)
    text, _ = build.communicate(timeout=30)
    assert build.returncode == 2
    assert "[PHI402]" in text
    assert "SIGKILL" in text
    assert text_of(copying) == "hello hello "


def test_an_interrupted_build_leaves_everything_as_it_was(copying: Project, tmp_path: Path) -> None:
    copying.scons()
    build = waiting_build(copying, started=tmp_path / "started")
    os.killpg(build.pid, signal.SIGINT)
    text, _ = build.communicate(timeout=30)
    assert build.returncode != 0
    assert "[PHI406]" in text
    assert "Traceback" not in text
    assert text_of(copying) == "hello hello "
    copying.write("in.txt", "hello ")
    assert copying.scons().actions == []


def test_a_build_that_is_killed_takes_its_worker_along(copying: Project, tmp_path: Path) -> None:
    build = waiting_build(copying, started=tmp_path / "started")
    build.kill()
    build.communicate()
    deadline = time.monotonic() + 10
    while workers_of(copying) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers_of(copying) == []


def test_a_second_build_in_the_same_folder_is_refused(copying: Project, tmp_path: Path) -> None:
    build = waiting_build(copying, started=tmp_path / "started")
    try:
        ran = copying.scons()
    finally:
        os.killpg(build.pid, signal.SIGINT)
        build.communicate(timeout=30)
    assert ran.status == 2
    assert f"[PHI405] another build (process {build.pid})" in ran.text


def test_a_full_disk_is_one_clear_error(copying: Project, tmp_path: Path) -> None:
    copying.scons()
    with tmpfs(tmp_path / "small", "400k") as small:
        copying.sconstruct(BUILD.replace("times=2", "times=100000"))
        ran = copying.scons(PHIBUILD_STORE=str(small / "store"))
    assert ran.status == 2
    assert "[PHI404]" in ran.text
    assert "Traceback" not in ran.text
    assert text_of(copying) == "hello hello "


def test_a_build_says_how_much_of_it_is_left(copying: Project) -> None:
    again = BUILD.replace("a =", "b =").replace("dist/copy", "dist/again").replace("=2", "=3")
    copying.sconstruct(BUILD + again)
    first = copying.scons()
    assert "1 of 2 targets left" in first.text.partition("built")[2]
    assert first.text.count("left") == 1
    asked_for_one = copying.scons("-c") and copying.scons("dist/again")
    assert asked_for_one.names("recalled") == ["dist/again"]
    assert "left" not in asked_for_one.text
