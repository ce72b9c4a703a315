"""What is recorded under a key was made from what the key says: inputs that change while a worker
reads them, and what a worker can see of them beside their bytes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.engine.building.realize import realize_step
from phibuild.engine.workshop import Workshop
from phibuild.model.action import SLICES, Action
from phibuild.registry import load_registry
from phibuild.store import Store
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project

# The worker edits the user's file itself: as somebody with an editor would, at a known moment.
WORKER = """\
import json, os, pathlib, phiworker

def main(job):
    shown = job.inputs["text"]
    if edit := job.recipe["edit"]:
        pathlib.Path(edit["path"]).write_text(edit["text"])
    names = sorted(str(path.relative_to(shown)) for path in shown.rglob("*") if path.is_file())
    text = shown.read_text() if shown.is_file() else "".join(
        (shown / name).read_text() for name in names
    )
    if job.recipe["fails"]:
        raise phiworker.WorkerError("cannot parse " + text)
    seen = [shown.name, os.access(shown, os.X_OK), names, text]
    job.output.write_text(json.dumps(seen))

phiworker.run(main)
"""
TARGET = (
    'env.Artifact("dist/seen.json", worker="read.py", inputs={{"text": {source!r}}}, edit={edit!r},'
    " fails={fails!r})\n"
)


@pytest.fixture
def reading(project: Project) -> Project:
    project.write("read.py", WORKER)
    project.write("in.txt", "one")
    return project


def declare(
    project: Project, source: str, *, edit: dict[str, str] | None = None, fails: bool = False
) -> None:
    project.sconstruct(TARGET.format(source=source, edit=edit, fails=fails))


def seen(project: Project) -> list[object]:
    content: list[object] = json.loads((project.folder / "dist/seen.json").read_text())
    return content


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("source", ["in.txt", "texts"])
def test_an_input_that_changes_while_it_is_read_is_not_recorded(
    reading: Project, source: str, fails: bool
) -> None:
    edited = "in.txt" if source == "in.txt" else "texts/a.txt"
    path = reading.write(edited, "one")
    edit = {"path": str(path), "text": "two"}
    declare(reading, source, edit=edit, fails=fails)
    ran = reading.scons()
    assert ran.status != 0
    assert f"[PHI106] {reading.folder / edited.partition('/')[0]}" in ran.text
    assert "changed while read was reading it" in ran.text
    assert not (reading.folder / "dist/seen.json").exists()
    if not fails:
        path.write_text("one")
        declare(reading, source)  # another recipe: the first is never satisfied
        assert reading.scons().status == 0
        assert seen(reading)[-1] == "one"


def test_an_input_with_another_link_that_changes_and_changes_back_is_noticed(
    reading: Project,
) -> None:
    path = reading.folder / "in.txt"
    (reading.folder / "other").hardlink_to(path)
    declare(reading, "in.txt", edit={"path": str(path), "text": "one"})  # the same bytes again
    assert "[PHI106]" in reading.scons().text
    assert not (reading.folder / "dist/seen.json").exists()


def test_after_a_revert_nothing_wrong_is_recalled(reading: Project) -> None:
    """The edit is made once: the second run's worker finds no path to write to."""
    path = reading.folder / "in.txt"
    link = reading.folder / "edited"
    link.symlink_to(path)
    declare(reading, "in.txt", edit={"path": str(link), "text": "two"})
    assert reading.scons().status != 0
    link.unlink()
    link.mkdir()
    path.write_text("one")
    assert "Is a directory" in reading.scons().text  # it works again: nothing was recorded


def test_a_folder_is_shown_as_it_was_digested(reading: Project) -> None:
    folder = reading.folder / "texts"
    for name in ("a.txt", "build/b.txt", ".git/c.txt", "sub/d.txt", "__pycache__/e.txt"):
        reading.write(f"texts/{name}", name)
    reading.write("elsewhere/f.txt", "f")
    (folder / "linked").symlink_to(reading.folder / "elsewhere")
    (folder / "g.txt").symlink_to(reading.folder / "in.txt")
    (folder / "lost").symlink_to(reading.folder / "nothing")
    os.mkfifo(folder / "pipe")
    declare(reading, "texts")
    assert reading.scons().status == 0
    assert seen(reading)[2] == ["a.txt", "g.txt", "sub/d.txt"]


def test_the_suffix_and_the_executable_bit_are_in_the_key(reading: Project) -> None:
    shutil.copy(reading.folder / "in.txt", reading.folder / "in.md")
    declare(reading, "in.txt")
    assert reading.scons().status == 0
    assert seen(reading)[:2] == ["text.txt", False]
    declare(reading, "in.md")
    assert reading.scons().status == 0
    assert seen(reading)[:2] == ["text.md", False]
    (reading.folder / "in.md").chmod(0o755)
    assert reading.scons().names("built") == ["dist/seen.json"]
    assert seen(reading)[:2] == ["text.md", True]
    (reading.folder / "in.md").chmod(0o644)
    assert reading.scons().names("recalled") == ["dist/seen.json"]
    assert reading.scons().text == "scons: `.' is up to date.\n"


def test_a_renamed_folder_changes_nothing(reading: Project) -> None:
    reading.write("texts.v1/a.txt", "a")
    declare(reading, "texts.v1")
    assert reading.scons().status == 0
    (reading.folder / "texts.v1").rename(reading.folder / "texts.v2")
    declare(reading, "texts.v2")
    assert not reading.scons().names("built")


SHOWN = """\
import os, phiworker

def main(job):
    job.output.write_text("\\n".join(sorted(os.listdir(job.inputs["model"]))))

phiworker.run(main)
"""


def test_a_file_that_comes_after_the_checkpoint_was_read_is_not_shown(tmp_path: Path) -> None:
    shop = Workshop.of(Store(tmp_path / "store"), load_registry())
    folder = write_checkpoint(tmp_path / "tiny", FAMILIES["phi-3"], layers=1)
    for late in ("special_tokens_map.json", "added_tokens.json"):
        (folder / late).unlink(missing_ok=True)
    checkpoint = shop.sources.checkpoint(folder)
    (folder / "added_tokens.json").write_text('{"<late>": 5}')
    worker = tmp_path / "list.py"
    worker.write_text(SHOWN)
    action = Action("list", worker, "host", slices=SLICES)
    result = realize_step(shop, action, checkpoint, "list")
    names = shop.store.object_path(result.tree.entries[0]).read_text().split()
    assert "tokenizer.json" in names
    assert "added_tokens.json" not in names


EDIT_AFTER = """\
import pathlib
edited = pathlib.Path({edited!r})
File(edited).get_csig()
{target}
before = edited.read_text()
edited.write_text({text!r})
"""


@pytest.mark.parametrize("edited", ["in.txt", "read.py", "texts/a.txt"])
def test_an_edit_between_the_digests_of_scons_and_ours_is_noticed(
    reading: Project, edited: str
) -> None:
    """SCons would record the digest of the old bytes, and call the target up to date after a
    revert. SConstruct edits the file at that moment, as somebody with an editor would."""
    path = reading.write(edited, WORKER if edited == "read.py" else "one")
    before = path.read_text()
    source = "texts" if edited == "texts/a.txt" else "in.txt"
    target = TARGET.format(source=source, edit=None, fails=False)
    text = before.replace("one", "two").replace("text]", 'text + "two"]')
    reading.sconstruct(EDIT_AFTER.format(edited=edited, target=target, text=text))
    assert "[PHI106]" in reading.scons().text
    path.write_text(before)
    reading.sconstruct(target)
    assert reading.scons().status == 0
    assert "two" not in str(seen(reading))


def test_a_worker_that_is_edited_while_it_runs_is_noticed(reading: Project) -> None:
    path = reading.folder / "read.py"
    declare(reading, "in.txt", edit={"path": str(path), "text": f"{WORKER}\n# edited"})
    assert "[PHI106]" in reading.scons().text
    assert not (reading.folder / "dist/seen.json").exists()


@pytest.mark.toolchain
def test_a_checkpoint_that_is_edited_after_it_was_declared_is_noticed(
    make_project: Callable[[str], Project],
) -> None:
    project = make_project("project")
    write_checkpoint(project.folder / "tiny", FAMILIES["phi-3"], layers=1, seed=time.time_ns())
    target = 'env.MLX("dist/m", env.PhiModel("tiny"), precision="fp16")\n'
    edit = "path = File('tiny/config.json').get_abspath()\ntext = open(path).read()\n"
    edit += "open(path, 'w').write(text.replace('1e-05', '2e-05'))\n"
    project.sconstruct(target + edit)
    assert "[PHI106]" in project.scons().text
