"""Artifacts as dependencies in builds by Make and Ninja: nothing twice, nothing stale."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import BUILD, HEADER, WORKER, Project
from tests.disks import tmpfs
from tests.firmware.tools import needed_tool

pytestmark = pytest.mark.toolchain

PHIBUILD = f"{sys.executable} -P -m phibuild.cli"
MAKEFILE = f"""\
firmware.bin: model/dist/copy
\tcat model/dist/copy/copy.txt > $@
\techo linked >> log
model/dist/copy: model.stamp ;
model.stamp:
\t{PHIBUILD} build -s -C model dist/copy --depfile model.d --depfile-target $@
\techo started >> log
\ttouch $@
-include model.d
"""
NINJA = f"""\
rule phibuild
  command = {PHIBUILD} build -s -C model dist/copy --depfile $out.d && echo started >> log
  depfile = $out.d
  deps = gcc
  restat = 1
rule link
  command = cat $in/copy.txt > $out && echo linked >> log
build model/dist/copy: phibuild
build firmware.bin: link model/dist/copy
"""


class Guest:
    """A firmware built by another tool, with a phibuild project in its folder `model`."""

    def __init__(self, project: Project, *command: str) -> None:
        self.folder, self.environment, self.command = project.folder, project.environment, command
        project.write("model/SConstruct", HEADER + BUILD)
        project.write("model/twice.py", WORKER)
        self.text = project.write("model/in.txt", "hello ")
        self.project = project

    def build(self) -> list[str]:
        """Run the tool; returns what it did, in order."""
        log = self.folder / "log"
        log.write_text("")
        ran = self.project.run(*self.command)
        assert ran.status == 0, ran.text
        return log.read_text().split()


@pytest.fixture(params=["make", "ninja"])
def guest(request: pytest.FixtureRequest, project: Project) -> Guest:
    if request.param == "make":
        project.write("Makefile", MAKEFILE)
        return Guest(project, needed_tool("make"), "-s", "firmware.bin")
    project.write("build.ninja", NINJA)
    return Guest(project, str(Path(sys.executable).parent / "ninja"), "firmware.bin")


def firmware_of(guest: Guest) -> str:
    return (guest.folder / "firmware.bin").read_text()


def test_a_changed_source_builds_once_and_then_nothing(guest: Guest) -> None:
    assert guest.build() == ["started", "linked"]
    assert firmware_of(guest) == "hello hello "
    assert guest.build() == []
    guest.text.write_text("bye ")
    assert guest.build() == ["started", "linked"]
    assert firmware_of(guest) == "bye bye "
    assert guest.build() == []


def test_an_unchanged_model_does_not_link_again(guest: Guest) -> None:
    guest.build()
    guest.text.touch()
    assert guest.build() == ["started"]
    assert guest.build() == []
    sconstruct = guest.folder / "model" / "SConstruct"
    sconstruct.write_text(sconstruct.read_text() + "# a remark\n")
    assert guest.build() == ["started"]
    assert guest.build() == []


def test_a_failure_stops_the_build_and_leaves_no_depfile(copying: Project) -> None:
    ran = copying.phibuild("build", "--depfile", "copy.d")
    assert ran.status == 0
    assert (copying.folder / "copy.d").read_text().startswith("dist/copy: \\\n")
    copying.write("in.txt", "fail")
    assert copying.phibuild("build", "--depfile", "copy.d").status == 2
    assert not (copying.folder / "copy.d").exists()


SCONSCRIPT = """\
import times
Import("env")
env.Artifact("#dist/copy", worker="#twice.py", inputs={"text": "#texts"}, times=times.TIMES)
"""


def test_every_input_is_noticed(guest: Guest) -> None:
    """SConscripts, the project's modules, workers, and files that are added to a folder."""
    project = guest.project
    worker = WORKER.replace(
        'job.inputs["text"].read_text()',
        '"".join(one.read_text() for one in sorted(job.inputs["text"].iterdir()))',
    )
    project.write("model/twice.py", worker)
    project.write("model/texts/a.txt", "a")
    project.write("model/SConstruct", HEADER + 'SConscript("sub/SConscript", exports="env")\n')
    project.write("model/sub/SConscript", "import sys\nsys.path.insert(0, 'sub')\n" + SCONSCRIPT)
    project.write("model/sub/times.py", "TIMES = 2\n")
    guest.build()
    assert firmware_of(guest) == "aa"
    project.write("model/sub/times.py", "TIMES = 1 + 2\n")
    assert guest.build() == ["started", "linked"]
    assert firmware_of(guest) == "aaa"
    project.write("model/texts/b.txt", "b")
    assert guest.build() == ["started", "linked"]
    assert firmware_of(guest) == "ababab"
    project.write("model/twice.py", worker + "# changed\n")
    assert guest.build() == ["started"]
    script = project.folder / "model" / "sub" / "SConscript"
    script.write_text(script.read_text().replace("times.TIMES", "1"))
    assert guest.build() == ["started", "linked"]
    assert firmware_of(guest) == "ab"
    assert guest.build() == []


def test_a_checkpoints_folder_is_listed_and_what_pins_its_toolchain(
    make_project: Callable[[str], Project],
) -> None:
    project = make_project("listed")
    write_checkpoint(project.folder / "tiny", FAMILIES["phi-3"], layers=1, seed=3)
    template = project.write("tiny/additional_chat_templates/rag.jinja", "{{ rag }}")
    project.sconstruct('env.GGUF("dist/tiny.gguf", env.PhiModel("tiny"), quant="Q4_0")\n')
    ran = project.phibuild("build", "--depfile", "tiny.d", "--depfile-target", "tiny stamp")
    assert ran.status == 0, ran.text
    text = (project.folder / "tiny.d").read_text()
    assert text.startswith("tiny\\ stamp: \\\n")
    listed = {line.removesuffix(" \\").strip() for line in text.splitlines()[1:]}
    tiny = project.folder / "tiny"
    assert {
        str(tiny),
        f"{tiny}/config.json",
        f"{tiny}/model.safetensors",
        f"{tiny}/README.md",
        str(template),
        str(template.parent),
    } <= listed
    assert any(line.endswith("phibuild_gguf/writing/worker_write.py") for line in listed)
    assert any(line.endswith("phibuild_gguf/toolchain.lock") for line in listed)
    assert any(line.endswith("llama.cpp/source.lock") for line in listed)


@pytest.mark.parametrize("place", ["nowhere/model.d", "a-file/model.d"])
def test_a_depfile_that_cannot_be_written_fails_before_anything_is_built(
    copying: Project, place: str
) -> None:
    copying.sconstruct(BUILD)
    copying.write("a-file", "")
    ran = copying.phibuild("build", "--depfile", place)
    assert ran.status != 0
    assert f"{place} cannot be written: " in ran.text
    assert not (copying.folder / "dist").exists()


def test_a_depfile_on_a_full_disk_fails_the_build(copying: Project, tmp_path: Path) -> None:
    copying.sconstruct(BUILD)
    with tmpfs(tmp_path / "disk", "64k") as disk:
        (disk / "filler").write_bytes(b"0" * (64 << 10))
        ran = copying.phibuild("build", "--depfile", str(disk / "model.d"))
        assert ran.status != 0
        assert "the depfile cannot be written: [Errno 28]" in ran.text
        assert sorted(path.name for path in disk.iterdir()) == ["filler"]


def test_a_name_for_the_depfile_requires_a_depfile(copying: Project) -> None:
    ran = copying.phibuild("build", "--depfile-target", "stamp")
    assert ran.status == 2
    assert "--depfile-target requires --depfile" in " ".join(ran.text.split())


@pytest.mark.parametrize("name", ["a b#c$d.txt", "a:b.txt", "a\\ b.txt"])
def test_make_and_ninja_read_names_with_special_characters(guest: Guest, name: str) -> None:
    guest.project.write(f"model/{name}", "signs ")
    quoted = BUILD.replace('"in.txt"', repr(name.replace("$", "$$")))
    guest.project.write("model/SConstruct", HEADER + quoted)
    guest.build()
    assert firmware_of(guest) == "signs signs "
    assert guest.build() == []
    guest.project.write(f"model/{name}", "others ")
    assert guest.build() == ["started", "linked"]
    assert guest.build() == []
