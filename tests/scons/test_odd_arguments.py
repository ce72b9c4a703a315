"""Whatever an SConstruct passes to a builder, it declares something or ends in one error."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import WORKER, Project

ROOT = Path(__file__).parents[2]
COUNT = """\
import sys
sys.path.insert(0, {root!r})
from tests.scons.attempts import count
found = count(env)
print("\\n".join(found.ugly))
print("declared", found.declared, "refused", found.refused, "ugly", len(found.ugly))
Exit(0)
"""
NAMES = (
    "a b",
    "a'b",
    'a"b',
    "a%b",
    "a#b",
    "[red]",
    "[/x]",
    "é",
    "a;b",
    "`id`",
    "a&b",
    "-x",
    "n" * 246,
)


@pytest.fixture
def odd(project: Project) -> Project:
    """A project with one of each kind of source."""
    write_checkpoint(project.folder / "m", FAMILIES["phi-3"], layers=1)
    project.write("in.txt", "text")
    project.write("w.py", WORKER)
    os.mkfifo(project.folder / "pipe")
    return project


def test_every_builder_field_and_odd_value(odd: Project) -> None:
    odd.sconstruct(COUNT.format(root=str(ROOT)))
    ran = odd.scons()
    assert ran.status == 0, ran.text
    declared, refused, ugly = map(int, ran.text.split()[-5::2])
    assert not ugly, ran.text
    assert (declared > 200, refused > 8000) == (True, True)


def test_artifacts_of_strange_names_are_built_and_shown_as_they_are(odd: Project) -> None:
    odd.sconstruct(
        f"for name in {NAMES!r}:\n"
        '    env.Artifact(f"out/{name}", worker="w.py", inputs={"text": "in.txt"}, times=2)\n'
    )
    ran = odd.scons()
    assert ran.status == 0, ran.text
    for name in NAMES:
        assert (odd.folder / "out" / name / "copy.txt").read_text() == "texttext"
        assert ran.text.count(f"out/{name} ") >= 2, name  # built, and the table
    assert odd.scons().names("working") == []
    plan = odd.phibuild("plan").text
    assert all(f"up to date  out/{name} " in plan for name in NAMES), plan
    assert "up to date" in odd.phibuild("explain", "out/[red]").text
    assert odd.scons("-c").status == 0
    assert not any(path.is_file() for path in (odd.folder / "out").rglob("*"))


@pytest.mark.parametrize(
    "line",
    [
        'env.Imatrix("out/i.gguf", "m", text="huge")',
        'env.GGUF("out/a.gguf", "m", quant="Q4_0", imatrix="huge")',
        'env.OpenVINO("out/ir", "m", precision="int4", calibration="huge")',
        'env.FirmwareImage("out/a.img", "in.txt", signing_key="huge")',
    ],
)
def test_a_file_that_is_far_too_large_is_refused(odd: Project, line: str) -> None:
    os.truncate(odd.write("huge", ""), 5 << 30)
    odd.sconstruct(line)
    ran = odd.scons()
    assert (ran.status, "[PHI205]" in ran.text) == (2, True), ran.text


def test_a_project_in_a_folder_whose_name_is_not_utf_8_is_refused(odd: Project) -> None:
    odd.sconstruct('env.Artifact("out/a", worker="w.py", inputs={"text": "in.txt"}, times=2)\n')
    other = Project(odd.folder.rename(odd.folder.parent / "\udcff"), odd.environment)
    ran = other.scons()
    assert (ran.status, "[PHI205]" in ran.text, "Traceback" in ran.text) == (2, True, False)


CONTROLS = "\x1b]0;title\x07\x9b31m"


def test_what_a_terminal_would_obey_is_escaped(odd: Project) -> None:
    odd.write(
        "w.py",
        "import phiworker\n"
        "def main(job):\n"
        f"    print({CONTROLS!r})\n"
        f"    job.progress(0.5, {CONTROLS!r})\n"
        "    if job.recipe['fails']:\n"
        f"        raise phiworker.WorkerError({CONTROLS!r}, hint='x', code='PHI401')\n"
        "    exit(3)\n"
        "phiworker.run(main)\n",
    )
    odd.sconstruct(
        "for fails in (True, False):\n"
        f'    env.Artifact(f"out/{{fails}}", worker="w.py", label={CONTROLS!r}, fails=fails)\n'
    )
    for ran in (odd.scons("-k"), odd.scons("-n"), odd.phibuild("graph")):
        assert not {"\x1b", "\x07", "\x9b"} & set(ran.text), ran.text
        assert "]0;title" in ran.text


def test_names_with_brackets_are_shown_on_a_terminal_too(odd: Project) -> None:
    odd.sconstruct(
        'for name in ("[/x]", "[red]a"):\n'
        '    env.Artifact(f"out/{name}", worker="w.py", inputs={"text": "in.txt"},'
        " times=len(name))\n"
    )
    terminal, other = pty.openpty()
    command = [sys.executable, "-P", "-m", "SCons", "-Q"]
    environment = {**os.environ, **odd.environment, "TERM": "xterm"}
    process = subprocess.Popen(command, cwd=odd.folder, env=environment, stdout=other, stderr=other)
    os.close(other)
    shown = b""
    with contextlib.suppress(OSError):  # the other end was closed
        while chunk := os.read(terminal, 65536):
            shown += chunk
    os.close(terminal)
    assert process.wait() == 0, shown
    assert shown.count(b"out/[/x]") >= 2
    assert shown.count(b"out/[red]a") >= 2


@pytest.mark.parametrize(
    "command",
    ["-m SCons -Q", "-m SCons", "-m SCons -Q -c", "-m SCons -Q -n", "-m phibuild.cli plan"],
)
@pytest.mark.parametrize("reader", ["head -n 1", "true"])
def test_nobody_reads_the_output(odd: Project, command: str, reader: str) -> None:
    odd.sconstruct(
        "for number in range(6):\n"
        '    env.Artifact(f"out/{number}", worker="w.py", inputs={"text": "in.txt"},'
        " times=number)\n"
    )
    line = f"{sys.executable} -P {command} | {reader} >/dev/null"
    environment = {**os.environ, **odd.environment}
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-c", line], cwd=odd.folder, env=environment, stderr=subprocess.PIPE, text=True
        )
        assert done.stderr == ""
    if command == "-m SCons -Q":
        assert len(list((odd.folder / "out").glob("*.phi.json"))) == 6
