"""`find_package(Phibuild)` in the real CMake: one build for each change, nothing stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from phibuild import __version__
from tests.conftest import HEADER, Project, Ran
from tests.firmware.tools import needed_tool

pytestmark = pytest.mark.toolchain

PROGRAMS = Path(sys.executable).parent  # cmake and ninja are packages that phibuild needs
GENERATORS = ("Ninja", "Unix Makefiles")
EXAMPLE = Path(__file__).parents[2] / "examples" / "cmake_firmware"
MODEL = """\
env.EmbeddedModel("build/phi", "model.bin", slot_size="128 KiB")
image = env.FirmwareImage("build/model.img", "model.bin")
env.DeviceSources("build/device", image)
"""
FIRMWARE = """\
cmake_minimum_required(VERSION 3.20)
project(firmware LANGUAGES C ASM)
find_package(Phibuild REQUIRED)
set(sources a_variable_of_the_callers)
phibuild_add_model(phi PROJECT "the model" EMBEDDED_MODEL build/phi)
phibuild_add_model(image PROJECT "the model" TARGETS build/model.img)
add_subdirectory(app)
add_custom_command(OUTPUT flash.img
  COMMAND ${CMAKE_COMMAND} -E copy ${image_ARTIFACTS} flash.img
  DEPENDS image ${image_MANIFESTS} VERBATIM)
add_custom_target(flash ALL DEPENDS flash.img)
"""
APP = """\
add_executable(firmware main.c)
target_link_libraries(firmware PRIVATE phi)
set_target_properties(firmware PROPERTIES RUNTIME_OUTPUT_DIRECTORY $<1:${CMAKE_BINARY_DIR}>)
"""
SOURCES_ONLY = """\
cmake_minimum_required(VERSION 3.20)
project(firmware LANGUAGES C)
find_package(Phibuild REQUIRED)
phibuild_add_model(device PROJECT "the model" TARGETS build/model.img DEVICE_SOURCES build/device)
add_executable(app verify.c)
target_link_libraries(app PRIVATE device)
"""

# As Zephyr and ESP-IDF do it: another machine's compiler, packages from its root only, and a static
# library between model and firmware.
TOOLCHAIN = """\
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_ASM_COMPILER arm-none-eabi-gcc)
set(CMAKE_C_FLAGS_INIT "-mcpu=cortex-m3 -mthumb -ffreestanding")
set(CMAKE_ASM_FLAGS_INIT "-mcpu=cortex-m3 -mthumb")
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_FIND_ROOT_PATH /nowhere)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
"""
CROSS = """\
cmake_minimum_required(VERSION 3.20)
project(firmware LANGUAGES C ASM)
find_package(Phibuild REQUIRED)
phibuild_add_model(phi PROJECT "the model" EMBEDDED_MODEL build/phi)
add_library(component STATIC component.c)
target_link_libraries(component PRIVATE phi)
add_executable(firmware main.c)
target_link_libraries(firmware PRIVATE component)
target_link_options(firmware PRIVATE -nostdlib -Wl,-e,main,--unresolved-symbols=ignore-all)
"""
COMPONENT = """\
#include "phi_model_data.h"
int component(void);
int component(void) { return phi_model_image[0]; }
"""


class Firmware:
    """A CMake firmware with a phibuild project in a folder with a blank in its name."""

    def __init__(self, project: Project, generator: str) -> None:
        self.folder, self.project, self.generator = project.folder, project, generator
        project.write("the model/SConstruct", HEADER + MODEL)
        project.write("app/CMakeLists.txt", APP)
        main = Path(__file__).parents[1] / "firmware" / "verify_embedded.c"
        project.write("app/main.c", main.read_text())
        self.change("a")

    def change(self, letter: str) -> None:
        """Another model."""
        self.project.write("the model/model.bin", letter * 70_001)

    def configure(self, lists: str = FIRMWARE, *options: str) -> Ran:
        """Run CMake, which finds the package as the documentation says."""
        self.project.write("CMakeLists.txt", lists)
        program = PROGRAMS / "ninja" if "Ninja" in self.generator else needed_tool("make")
        where = self.project.phibuild("cmake-dir").text.strip()
        return self.cmake(
            *("-S", ".", "-B", "out", "-G", self.generator, f"-DCMAKE_MAKE_PROGRAM={program}"),
            *(f"-DPhibuild_DIR={where}", *options),
        )

    def build(self, *arguments: str) -> Ran:
        """Build with two jobs."""
        return self.cmake("--build", "out", "-j", "2", *arguments)

    def cmake(self, *arguments: str) -> Ran:
        path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
        return self.project.run(str(PROGRAMS / "cmake"), *arguments, PATH=path)

    def times(self) -> dict[str, int]:
        """When each output was written."""
        paths = [self.folder / "out" / name for name in ("firmware", "flash.img")]
        return {path.name: path.stat().st_mtime_ns for path in paths}

    @property
    def runs(self) -> bool:
        """Whether the firmware accepts the model that it holds."""
        done = subprocess.run([self.folder / "out" / "firmware"], stdout=subprocess.PIPE)
        return done.stdout == b"PASS\n"

    @property
    def holds(self) -> str:
        """The letters of the models in the firmware and the image."""
        letters = {
            letter
            for letter in "abc"
            for path in (self.folder / "out" / name for name in ("firmware", "flash.img"))
            if letter.encode() * 70_001 in path.read_bytes()
        }
        return "".join(sorted(letters))


def ran_phibuild(ran: Ran) -> bool:
    """Whether CMake started phibuild."""
    return "Model phi" in ran.text


@pytest.fixture(params=GENERATORS)
def firmware(request: pytest.FixtureRequest, project: Project) -> Firmware:
    needed_tool("cc")
    firmware = Firmware(project, request.param)
    ran = firmware.configure()
    assert ran.status == 0, ran.text
    ran = firmware.build()
    assert ran.status == 0, ran.text
    return firmware


@pytest.mark.parametrize("firmware", [*GENERATORS, "Ninja Multi-Config"], indirect=True)
def test_a_changed_model_is_built_once_and_then_nothing(firmware: Firmware) -> None:
    assert (firmware.runs, firmware.holds) == (True, "a")
    before = firmware.times()
    assert not ran_phibuild(firmware.build())
    assert firmware.times() == before
    firmware.change("b")
    ran = firmware.build()
    assert sorted(ran.names("built")) == ["build/model.img", "build/phi"]
    assert (firmware.runs, firmware.holds) == (True, "b")
    before = firmware.times()
    assert not ran_phibuild(firmware.build())
    assert firmware.times() == before
    # Back to bytes that the store has: older files must not look up to date.
    firmware.change("a")
    ran = firmware.build()
    assert sorted(ran.names("recalled")) == ["build/model.img", "build/phi"]
    assert (firmware.runs, firmware.holds) == (True, "a")


def test_an_unchanged_artifact_does_not_link_again(firmware: Firmware) -> None:
    before = firmware.times()
    (firmware.folder / "the model" / "model.bin").touch()
    assert ran_phibuild(firmware.build())
    assert not ran_phibuild(firmware.build())
    assert firmware.times() == before


def test_an_edit_of_the_firmware_does_not_start_phibuild(firmware: Firmware) -> None:
    before = firmware.times()
    (firmware.folder / "app" / "main.c").touch()
    assert not ran_phibuild(firmware.build())
    assert firmware.times()["firmware"] > before["firmware"]
    assert firmware.times()["flash.img"] == before["flash.img"]


def test_clean_leaves_the_users_files_and_the_store_brings_the_rest_back(
    firmware: Firmware,
) -> None:
    """CMake would remove whole folders, so it does not know them as outputs."""
    built = firmware.folder / "the model" / "build"
    notes = built / "phi" / "notes.txt"
    notes.write_text("mine")
    assert firmware.build("--target", "clean").status == 0
    assert notes.read_text() == "mine"
    assert not (built / "phi.phi.json").exists()
    assert not (built / "phi" / "phi_model.c").exists()
    notes.unlink()
    ran = firmware.build()
    assert sorted(ran.names("recalled")) == ["build/model.img", "build/phi"]
    assert ran.names("working") == []
    assert firmware.runs
    assert not ran_phibuild(firmware.build())


def test_an_error_of_phibuild_stops_the_build_and_is_printed(firmware: Firmware) -> None:
    script = firmware.folder / "the model" / "SConstruct"
    script.write_text(script.read_text().replace("128 KiB", "64 KiB"))
    before = firmware.times()
    ran = firmware.build()
    assert ran.status != 0
    assert "[PHI701] the image has 74,097 bytes" in ran.text
    assert firmware.times()["firmware"] == before["firmware"]
    assert "[PHI701]" in firmware.build().text
    script.write_text(script.read_text().replace("64 KiB", "128 KiB"))
    assert firmware.build().status == 0
    assert firmware.runs


def test_another_list_of_targets_is_built(firmware: Firmware) -> None:
    more = FIRMWARE.replace("TARGETS build/model.img", "TARGETS build/model.img build/device")
    firmware.project.write("CMakeLists.txt", more)
    ran = firmware.build()
    assert ran.names("built") == ["build/device"]
    assert not ran_phibuild(firmware.build())


def test_one_model_can_be_built_by_its_name(project: Project) -> None:
    firmware = Firmware(project, "Ninja")
    firmware.configure()
    assert firmware.build("--target", "image").names("built") == ["build/model.img"]


def test_the_sources_for_an_image_are_compiled_without_an_assembler(project: Project) -> None:
    needed_tool("cc")
    firmware = Firmware(project, "Ninja")
    verify = Path(__file__).parents[1] / "firmware" / "verify.c"
    project.write("verify.c", verify.read_text())
    assert firmware.configure(SOURCES_ONLY).status == 0
    ran = firmware.build()
    assert ran.status == 0, ran.text
    image = firmware.folder / "the model" / "build" / "model.img"
    done = subprocess.run([firmware.folder / "out" / "app", image], stdout=subprocess.PIPE)
    assert done.stdout.strip() == b"ok"


def test_it_goes_into_a_component_of_a_firmware_for_another_machine(project: Project) -> None:
    needed_tool("arm-none-eabi-gcc")
    firmware = Firmware(project, "Ninja")
    toolchain = project.write("arm.cmake", TOOLCHAIN)
    project.write("component.c", COMPONENT)
    project.write("main.c", "int component(void);\nint main(void) { return component(); }\n")
    ran = firmware.configure(CROSS, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}")
    assert ran.status == 0, ran.text
    ran = firmware.build("-v")
    assert ran.status == 0, ran.text
    (link,) = (line for line in ran.text.splitlines() if "--unresolved-symbols" in line)
    assert "phi_model_data.ld" in link
    assert b"a" * 70_001 in (firmware.folder / "out" / "firmware").read_bytes()
    assert not ran_phibuild(firmware.build())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('PROJECT "the model" T', "PROJECT models T", "there is no"),
        ("TARGETS build/model.img", "", "name what to build"),
        ("TARGETS", "ARTEFACTS", "unknown arguments ARTEFACTS"),
        (" ASM", "", "EMBEDDED_MODEL needs the language ASM"),
        ("find_package(Phibuild", "find_package(Phibuild 999", 'requested version "999"'),
        ("REQUIRED", "99.1 EXACT REQUIRED", "not compatible with the version requested"),
    ],
)
def test_wrong_arguments_are_named(project: Project, old: str, new: str, message: str) -> None:
    ran = Firmware(project, "Ninja").configure(FIRMWARE.replace(old, new))
    assert ran.status == 1
    assert message in " ".join(ran.text.split())


def test_a_missing_command_is_reported(project: Project) -> None:
    hidden = "set(CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH NO)\nfind_package(Phibuild"
    ran = Firmware(project, "Ninja").configure(FIRMWARE.replace("find_package(Phibuild", hidden))
    assert ran.status == 1
    assert "phibuild was not found on PATH" in " ".join(ran.text.split())


def test_it_has_the_version_of_phibuild(project: Project) -> None:
    exact = FIRMWARE.replace("REQUIRED", f"{__version__} EXACT REQUIRED")
    ran = Firmware(project, "Ninja").configure(exact)
    assert ran.status == 0, ran.text


@pytest.mark.parametrize("generator", GENERATORS)
def test_the_example_is_built_and_accepts_its_model(tmp_path: Path, generator: str) -> None:
    needed_tool("cc")
    firmware = Firmware(Project(tmp_path), generator)
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build", "out", ".scons*"))
    firmware.project = Project(folder)
    ran = firmware.configure((EXAMPLE / "CMakeLists.txt").read_text())
    assert ran.status == 0, ran.text
    ran = firmware.build()
    assert ran.status == 0, ran.text
    done = subprocess.run([folder / "out" / "firmware"], stdout=subprocess.PIPE)
    assert done.stdout == b"PASS tiny\n"
    flashed = (folder / "out" / "flash" / "model.img").read_bytes()
    assert flashed == (folder / "model" / "build" / "model.img").read_bytes()
    assert not ran_phibuild(firmware.build())
    script = folder / "model" / "SConstruct"
    script.write_text(script.read_text().replace("seed=1", "seed=2"))
    assert firmware.build().status == 0
    assert subprocess.run([folder / "out" / "firmware"]).returncode == 0
    assert (folder / "out" / "flash" / "model.img").read_bytes() != flashed
    assert not ran_phibuild(firmware.build())
