"""`phibuild plan`, where it needs no toolchain."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from phibuild.cli.plan import disk_spaces, to_run
from phibuild.store.copying import Way, way_to
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.backends.cases import CALLS
from tests.conftest import BUILD, Project


def test_plan_says_what_would_be_done_and_why(copying: Project) -> None:
    text = copying.phibuild("plan").text
    assert "work        dist/copy  (it was never built here)\n              run twice\n" in text
    assert "in all: 1 action, none of which ever ran here\ndisk: more than 0 B needed" in text
    assert not (copying.folder / "dist").exists()
    copying.scons()
    assert copying.phibuild("plan").text == "up to date  dist/copy  16 B\n1 up to date\n"
    copying.write("in.txt", "bye ")
    text = copying.phibuild("plan", "dist/copy").text
    assert "work        dist/copy  about 16 B  (input.text changed: " in text
    assert "run twice, about" in text
    copies = way_to(copying.folder, source=copying.folder / "in.txt") is Way.COPY
    assert f"disk: {32 if copies else 16} B needed, " in text
    copying.write("in.txt", "hello ")
    (copying.folder / "dist" / "copy" / "copy.txt").unlink()
    assert "recall      dist/copy  16 B  (its files were deleted or changed)" in (
        copying.phibuild("plan").text
    )


def test_plan_names_what_is_in_the_way(copying: Project) -> None:
    copying.scons()
    copying.write("dist/copy/notes.txt", "mine")
    text = copying.phibuild("explain", "dist/copy").text
    assert "dist/copy holds files that phibuild did not build: notes.txt" in text


def test_costs_are_those_of_the_last_run_of_the_recipe(copying: Project) -> None:
    copying.scons()
    copying.write("in.txt", "bye ")
    (target,) = json.loads(copying.phibuild("plan", "--json").text)["targets"]
    (action,) = target["actions"]
    result = copying.phibuild("show", "dist/copy").text
    assert f"{action['seconds']:.1f} s" in result
    assert action["makes"] == 16
    copying.sconstruct(BUILD.replace("times=2", "times=3"))
    (target,) = json.loads(copying.phibuild("plan", "--json").text)["targets"]
    assert target["actions"][0]["seconds"] == action["seconds"]
    assert target["actions"][0]["makes"] is None, "another recipe may make more or less"


def test_a_checkpoint_that_was_recalled_is_read_again_for_a_plan(project: Project) -> None:
    """It is read when Python ends, which starts no more threads then."""
    project.write(
        "make.py",
        "import phiworker\n"
        "from phibuild.testing.checkpoints import FAMILIES, write_checkpoint\n"
        "phiworker.run(lambda job: write_checkpoint(job.output, FAMILIES['phi-3'], layers=1))\n",
    )
    project.sconstruct(
        'tiny = env.Artifact("dist/tiny", worker="make.py", toolchain="phibuild")\n'
        'env.MLX("dist/mlx", env.PhiModel(tiny), precision="int4")\n'
    )
    for _ in range(2):
        assert project.scons("dist/tiny").status == 0
        ran = project.phibuild("plan")
        assert ran.status == 0, ran.text
        assert "work        dist/mlx" in ran.text
        shutil.rmtree(project.folder / "dist")


def test_a_run_with_pieces_of_an_earlier_output_is_not_measured(project: Project) -> None:
    project.write(
        "worker.py",
        "import hashlib, time, phiworker\n"
        "def main(job):\n"
        "    text = job.inputs['text'].read_bytes()\n"
        "    time.sleep(0 if job.recall(['key']) else 0.2)\n"
        "    job.output.write_bytes(text)\n"
        "    digest = hashlib.sha256(text).hexdigest()\n"
        "    job.remember('key', offset=0, size=len(text), sha256=digest)\n"
        "phiworker.run(main)\n",
    )
    project.sconstruct('env.Artifact("dist/a", worker="worker.py", inputs={"text": "in.txt"})\n')
    seconds = []
    for number in range(3):
        project.write("in.txt", f"text {number}")
        (target,) = json.loads(project.phibuild("plan", "--json").text)["targets"]
        seconds.append(target["actions"][0]["seconds"])
        assert project.scons().status == 0
    assert seconds[0] is None
    assert seconds[1] == seconds[2] >= 0.2


def test_a_digest_that_a_worker_reports_is_that_of_the_file(project: Project) -> None:
    """A digest of a file that does not exist is ignored."""
    project.write(
        "worker.py",
        "import hashlib, phiworker\n"
        "def main(job):\n"
        "    job.output.mkdir()\n"
        "    (job.output / 'a').write_bytes(b'text')\n"
        "    job.written(hashlib.sha256(b'text').hexdigest(), file='a')\n"
        "    job.written(hashlib.sha256(b'text').hexdigest(), file='b')\n"
        "phiworker.run(main)\n",
    )
    project.sconstruct('env.Artifact("dist/a", worker="worker.py")\n')
    assert project.scons().status == 0
    manifest = (project.folder / "dist" / "a.phi.json").read_text()
    assert hashlib.sha256(b"text").hexdigest() in manifest


def test_a_target_waits_for_its_sources(copying: Project) -> None:
    copying.sconstruct(
        BUILD + 'env.Artifact("dist/next", worker="next.py", inputs={"folder": a})\n'
    )
    copying.write(
        "next.py",
        "import phiworker\nphiworker.run(lambda job: job.output.write_text('next'))\n",
    )
    text = copying.phibuild("plan").text
    assert "wait        dist/next  (copy is not built yet)" in text
    copying.scons()
    assert "2 up to date" in copying.phibuild("plan").text
    copying.write("in.txt", "bye ")
    assert "wait        dist/next  4 B  (dist/copy comes first)" in copying.phibuild("plan").text


def test_without_toolchains_sizes_are_guessed_and_nothing_is_installed(
    project: Project, tmp_path: Path
) -> None:
    write_checkpoint(project.folder / "tiny", FAMILIES["phi-3"], layers=2)
    calls = (call.format(name="m", precision="int8", more="") + "\n" for call in CALLS.values())
    project.sconstruct('phi = env.PhiModel("tiny")\n' + "".join(calls))
    ran = project.phibuild("plan")
    assert ran.status == 0, ran.text
    lines = [line for line in ran.text.splitlines() if line.startswith("work")]
    assert len(lines) == len(CALLS)
    assert all("  about " in line for line in lines)
    assert "toolchains" not in [path.name for path in (tmp_path / "store").iterdir()]


def action(number: int, makes: int | None, *, is_known: bool = False) -> dict[str, Any]:
    return {"number": number, "name": "x", "is_known": is_known, "seconds": 1.0, "makes": makes}


def target(*actions: dict[str, Any], size: int | None = None) -> dict[str, Any]:
    shown = None if size is None else {"bytes": size, "is_exact": True}
    return {"standing": "work", "actions": list(actions), "size": shown}


class Usage(NamedTuple):
    free: int


def test_an_action_that_two_targets_need_is_counted_once(tmp_path: Path) -> None:
    shared, known = action(0, 100), action(1, 7, is_known=True)
    states = [target(shared, known, action(2, 10)), target(shared, action(3, 20))]
    assert [action["number"] for action in to_run(states)] == [0, 2, 3]
    (space,) = disk_spaces(states, tmp_path, tmp_path, are_copies=False)
    assert (space.needed, space.is_least) == (130, False)


def test_an_action_that_never_ran_counts_as_the_artifact(tmp_path: Path) -> None:
    states = [target(action(0, None), action(1, 5), size=70), target(action(2, 10))]
    (space,) = disk_spaces(states, tmp_path, tmp_path, are_copies=False)
    assert (space.needed, space.is_least) == (80, False)
    states.append(target(action(3, None)))
    (space,) = disk_spaces(states, tmp_path, tmp_path, are_copies=False)
    assert (space.needed, space.is_least) == (80, True)


def test_artifacts_that_are_copies_need_space_of_their_own(tmp_path: Path) -> None:
    recalled = target(size=7) | {"standing": "recall"}
    states = [target(action(0, 10), size=5), recalled]
    (space,) = disk_spaces(states, tmp_path, tmp_path, are_copies=True)
    assert space.needed == 10 + 5 + 7
    (space,) = disk_spaces([recalled], tmp_path, tmp_path, are_copies=True)
    assert space.needed == 7
    assert disk_spaces([recalled], tmp_path, tmp_path, are_copies=False) == []


def test_artifacts_on_another_file_system_need_space_there(tmp_path: Path) -> None:
    states = [target(action(0, 10), size=5)]
    other = Path("/proc")
    store, project = disk_spaces(states, tmp_path, other, are_copies=True)
    assert (store.folder, store.needed) == (tmp_path, 10)
    assert (project.folder, project.needed) == (other, 5)


def test_too_little_space_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The disk is not really full: shutil is patched."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(99))
    (space,) = disk_spaces([target(action(0, 100))], tmp_path, tmp_path, are_copies=False)
    assert str(space) == f"not enough space: 100 B needed, 99 B free in {tmp_path}"
    (space,) = disk_spaces([target(action(0, 98))], tmp_path, tmp_path, are_copies=False)
    assert str(space) == f"disk: 98 B needed, 99 B free in {tmp_path}"
