"""The cost of a model in a firmware's build: embedding it, editing the code, doing nothing."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.bench.measure import cost_of
from tests.conftest import Project
from tests.firmware.tools import needed_tool

ROUNDS = 7
SCONS = (sys.executable, "-P", "-m", "SCons", "-Q")
MIB = 1 << 20
MODEL = """\
import phiworker, random
def main(job):
    chunk = random.Random(1).randbytes(1 << 20)
    with job.output.open("wb") as file:
        for number in range(job.recipe["mib"]):
            file.write(number.to_bytes(4, "little") + chunk[4:])
phiworker.run(main)
"""
MAIN = """\
#include "phi_model.h"
#include "phi_model_data.h"
int main(void)
{
    static const struct phi_model_expected EXPECTED = {
        PHI_MODEL_DESCRIPTOR_SHA256, PHI_MODEL_TOKENIZER_DIGEST, PHI_MODEL_CHAT_TEMPLATE_DIGEST};
    struct phi_model model;
    struct phi_sha256 state;
    const struct phi_sha256_ops sha = phi_sha256_portable(&state);
    static const unsigned char page[512];
    return phi_model_parse(page, sizeof page, &sha, &model) == PHI_MODEL_OK
               ? (int)phi_model_matches(&model, &EXPECTED)
               : EDIT;
}
"""
PROGRAM = """\
firmware = Environment(CPPPATH=["build/device"])
firmware.Program("firmware", ["main.c", "build/device/phi_model.c", Glob("parts/*.c")])
"""
IMAGE = """\
model = env.Artifact("build/model.bin", worker="make.py", mib=600)
image = env.FirmwareImage("build/model.img", model)
env.DeviceSources("build/device", image)
"""
PARTS = 100


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_embedding_is_far_cheaper_than_an_array_in_c(project: Project, tmp_path: Path) -> None:
    xxd, cc = needed_tool("xxd"), needed_tool("cc")
    content = random.Random(2).randbytes(64 * MIB)
    (project.folder / "model.bin").write_bytes(content)
    project.sconstruct(
        'env.EmbeddedModel("build/phi", "model.bin")\n'
        'env = Environment(ASPPFLAGS=["-Wa,-Ibuild/phi"])\n'
        'env.Object("model.o", "build/phi/phi_model_data.S")\n'
    )
    ours = cost_of(SCONS, folder=project.folder, environment=project.environment)
    assert content in (project.folder / "model.o").read_bytes()
    folder = tmp_path / "by-hand"
    folder.mkdir()
    shutil.copyfile(project.folder / "model.bin", folder / "model.bin")
    script = folder / "embed.sh"
    script.write_text(f"set -e\n{xxd} -i model.bin > model.c\n{cc} -c model.c -o model.o\n")
    theirs = cost_of(("sh", script), folder=folder)
    ratio = ours.seconds / theirs.seconds
    print(
        f"\nbench embedding, 64 MiB: {ratio:.4f} x xxd -i and a compiler ({ours.seconds:.1f} s"
        f" against {theirs.seconds:.0f} s, {ours.peak_bytes / 1e9:.2f} GB of memory against"
        f" {theirs.peak_bytes / 1e9:.2f} GB)",
        end="",
    )
    assert ratio <= 1 / 50


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_a_model_in_its_own_image_hardly_slows_the_firmware(
    project: Project, tmp_path: Path
) -> None:
    for number in range(PARTS):
        text = f"int part_{number}(int x);\nint part_{number}(int x) {{ return x + {number}; }}\n"
        project.write(f"parts/part_{number}.c", text)
    with_model(project)
    without = Project(tmp_path / "without")
    shutil.copytree(
        project.folder, without.folder, ignore=shutil.ignore_patterns("model.*", ".scons*", "*.o")
    )
    without.write("SConstruct", "DefaultEnvironment(tools=[])\n" + PROGRAM)
    assert without.scons().status == 0

    edits: dict[str, list[float]] = {"with": [], "without": []}
    for number in range(ROUNDS):
        for name, firmware in (("with", project), ("without", without)):
            firmware.write("main.c", MAIN.replace("EDIT", str(number)))
            edits[name].append(seconds(firmware))
    ratio = min(edits["with"]) / min(edits["without"])
    print(
        f"\nbench firmware of {PARTS} files, edit of one with a model of 600 MiB: {ratio:.2f} x the"
        f" same firmware without one ({min(edits['with']):.2f} s against"
        f" {min(edits['without']):.2f} s, best of {ROUNDS})",
        end="",
    )
    assert ratio <= 1.2


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_a_null_build_of_a_firmware_costs_little_more_than_scons(
    project: Project, tmp_path: Path
) -> None:
    with_model(project)
    bare = Project(tmp_path / "bare")
    bare.write("SConstruct", "Environment()\n")
    nulls: dict[str, list[float]] = {"with": [], "bare": []}
    for _ in range(ROUNDS):
        for name, build in (("with", project), ("bare", bare)):
            nulls[name].append(seconds(build))
    ratio = min(nulls["with"]) / min(nulls["bare"])
    print(
        f"\nbench firmware of a file and a model of 600 MiB, null build: {ratio:.2f} x bare SCons"
        f" ({min(nulls['with']):.2f} s against {min(nulls['bare']):.2f} s, best of {ROUNDS})",
        end="",
    )
    assert ratio <= 1.5


def with_model(project: Project) -> None:
    """Build a firmware with a model in an image of its own."""
    project.write("make.py", MODEL)
    project.write("main.c", MAIN.replace("EDIT", "100"))
    project.sconstruct(IMAGE + PROGRAM)
    ran = project.scons("-j2")
    assert ran.status == 0, ran.text


def seconds(project: Project) -> float:
    return cost_of(SCONS, folder=project.folder, environment=project.environment).seconds
