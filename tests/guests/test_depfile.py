"""Artifacts as dependencies in builds by Make, Ninja and CMake: nothing twice, nothing stale."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BUILD, HEADER, WORKER, Project
from tests.firmware.tools import needed_tool

PHIBUILD = f"{sys.executable} -P -m phibuild.cli"
MAKEFILE = f"""\
firmware.bin: model/dist/copy
\tcat model/dist/copy/copy.txt > $@
\techo linked >> log
model/dist/copy: model.stamp ;
model.stamp:
\t{PHIBUILD} build -s -C model dist/copy --depfile model.d
\tsed -i 's,^model/dist/copy:,model.stamp:,' model.d
\techo asked >> log
\ttouch $@
-include model.d
"""
NINJA = f"""\
rule phibuild
  command = {PHIBUILD} build -s -C model dist/copy --depfile $out.d && echo asked >> log
  depfile = $out.d
  deps = gcc
  restat = 1
rule link
  command = cat $in/copy.txt > $out && echo linked >> log
build model/dist/copy: phibuild
build firmware.bin: link model/dist/copy
"""
CMAKE = f"""\
cmake_minimum_required(VERSION 3.25)
project(firmware NONE)
set(model ${{CMAKE_SOURCE_DIR}}/model)
add_custom_command(
  OUTPUT model.stamp
  BYPRODUCTS ${{model}}/dist/copy.phi.json
  COMMAND ${{CMAKE_COMMAND}} -E env -- {PHIBUILD.replace(" ", ";")}
    build -s -C ${{model}} dist/copy --depfile model.d
  COMMAND sed -i "1s,^[^:]*:,model.stamp:," model.d
  COMMAND sh -c "echo asked >> ${{CMAKE_SOURCE_DIR}}/log"
  COMMAND ${{CMAKE_COMMAND}} -E touch model.stamp
  DEPFILE ${{CMAKE_BINARY_DIR}}/model.d
  COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(model DEPENDS model.stamp)
add_custom_command(
  OUTPUT firmware.bin
  COMMAND sh -c "cat ${{model}}/dist/copy/copy.txt > firmware.bin"
  COMMAND sh -c "echo linked >> ${{CMAKE_SOURCE_DIR}}/log"
  DEPENDS model ${{model}}/dist/copy.phi.json VERBATIM)
add_custom_target(firmware ALL DEPENDS firmware.bin)
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
        """Run the tool; what was done, in order."""
        log = self.folder / "log"
        log.write_text("")
        ran = self.project.run(*self.command)
        assert ran.status == 0, ran.text
        return log.read_text().split()


@pytest.fixture(params=["make", "ninja", "cmake-make", "cmake-ninja"])
def guest(request: pytest.FixtureRequest, project: Project) -> Guest:
    tool = request.param
    programs = Path(sys.executable).parent  # cmake and ninja are packages that phibuild needs
    if tool == "make":
        project.write("Makefile", MAKEFILE)
        return Guest(project, needed_tool("make"), "-s", "firmware.bin")
    if tool == "ninja":
        project.write("build.ninja", NINJA)
        return Guest(project, str(programs / "ninja"), "firmware.bin")
    one = Guest(project, str(programs / "cmake"), "--build", "out")
    project.write("CMakeLists.txt", CMAKE)
    generator, program = ("Ninja", str(programs / "ninja"))
    if tool == "cmake-make":
        generator, program = "Unix Makefiles", needed_tool("make")
    configure = ["-S", ".", "-B", "out", "-G", generator, f"-DCMAKE_MAKE_PROGRAM={program}"]
    ran = project.run(str(programs / "cmake"), *configure)
    assert ran.status == 0, ran.text
    return one


def made(guest: Guest) -> str:
    path = guest.folder / "firmware.bin"
    return (path if path.exists() else guest.folder / "out" / "firmware.bin").read_text()


def test_a_changed_source_builds_once_and_then_nothing(guest: Guest) -> None:
    assert guest.build() == ["asked", "linked"]
    assert made(guest) == "hello hello "
    assert guest.build() == []
    guest.text.write_text("bye ")
    assert guest.build() == ["asked", "linked"]
    assert made(guest) == "bye bye "
    assert guest.build() == []


def test_what_does_not_change_the_model_does_not_link_again(guest: Guest) -> None:
    guest.build()
    guest.text.touch()
    assert guest.build() == ["asked"]
    assert guest.build() == []
    sconstruct = guest.folder / "model" / "SConstruct"
    sconstruct.write_text(sconstruct.read_text() + "# a remark\n")
    assert guest.build() == ["asked"]
    assert guest.build() == []


def test_a_failure_stops_the_build_and_leaves_no_depfile(copying: Project) -> None:
    ran = copying.phibuild("build", "--depfile", "copy.d")
    assert ran.status == 0
    assert (copying.folder / "copy.d").read_text().startswith("dist/copy: \\\n")
    copying.write("in.txt", "fail")
    assert copying.phibuild("build", "--depfile", "copy.d").status == 2
    assert not (copying.folder / "copy.d").exists()


def test_names_with_signs_are_what_make_reads(project: Project) -> None:
    make = needed_tool("make")
    project.write("twice.py", WORKER)
    project.write("a b#c$d.txt", "hello ")
    project.sconstruct(BUILD.replace("in.txt", "a b#c$$d.txt"))
    ran = project.phibuild("build", "--depfile", "copy.d")
    assert ran.status == 0, ran.text
    project.write("Makefile", "dist/copy:\n\techo stale\ninclude copy.d\n")
    assert "up to date" in project.run(make, "dist/copy").text
    later = (project.folder / "dist" / "copy").stat().st_mtime + 10
    subprocess.run(["touch", "-d", f"@{later}", project.folder / "a b#c$d.txt"], check=True)
    assert "stale" in project.run(make, "dist/copy").text
