"""Artifacts packed as file systems and tars: what comes out again, and what reaches the bytes."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from phibuild_firmware import containers
from phibuild_firmware.descriptor import parse

from phibuild.model.errors import ToolchainError
from tests.conftest import Project
from tests.firmware.tools import needed_tool

FILES = {
    "config.json": b"{}",
    "weights/one.bin": random.Random(1).randbytes(50_000),
    "weights/two.bin": random.Random(2).randbytes(4096),
}
PROGRAMS = {"erofs": "mkfs.erofs", "squashfs": "mksquashfs", "tar": "tar"}
NUMBERS = {"erofs": 1, "squashfs": 2, "tar": 3}
IMAGE = 'env.FirmwareImage("build/model.img", "{of}", container="{container}"{fields})\n'

of_each = pytest.mark.parametrize("container", PROGRAMS)


@pytest.fixture
def packing(project: Project, container: str) -> Project:
    """A project that packs a folder."""
    needed_tool(PROGRAMS[container])
    for name, content in FILES.items():
        path = project.folder / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    project.sconstruct(IMAGE.format(of="model", container=container, fields=""))
    return project


def packed(project: Project) -> bytes:
    ran = project.scons()
    assert ran.status == 0, ran.text
    return (project.folder / "build" / "model.img").read_bytes()


def unpacked(image: bytes, container: str, folder: Path) -> dict[str, bytes]:
    """The files of an image's payload, by the container's own tool."""
    found = parse(image)
    assert found.container == NUMBERS[container]
    payload = folder / "payload"
    payload.write_bytes(image[found.payload_offset :][: found.payload_size])
    out = folder / "out"
    if container == "tar":
        with tarfile.open(payload) as archive:
            archive.extractall(out, filter="data")
    elif container == "erofs":
        command = [needed_tool("fsck.erofs"), f"--extract={out}", payload]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    else:
        command = [needed_tool("unsquashfs"), "-no-progress", "-d", out, payload]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


@of_each
def test_what_was_packed_comes_out_again(packing: Project, container: str, tmp_path: Path) -> None:
    assert unpacked(packed(packing), container, tmp_path) == FILES
    assert packing.scons().text == "scons: `.' is up to date.\n"
    assert f"= FILE, {container}" in packing.phibuild("show", "build/model.img").text


@of_each
def test_times_modes_and_order_do_not_reach_the_bytes(
    packing: Project, container: str, tmp_path: Path
) -> None:
    before = packed(packing)
    other = Project(tmp_path / "elsewhere", {"PHIBUILD_STORE": str(tmp_path / "other-store")})
    for name, content in reversed(FILES.items()):
        path = other.folder / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600)
        os.utime(path, (1_000_000, 1_000_000))
    shutil.copyfile(packing.folder / "SConstruct", other.folder / "SConstruct")
    umask = os.umask(0o077)
    try:
        assert packed(other) == before
    finally:
        os.umask(umask)


@of_each
def test_a_single_file_is_packed_when_asked(
    packing: Project, container: str, tmp_path: Path
) -> None:
    packing.write("one.bin", "content")
    packing.sconstruct(IMAGE.format(of="one.bin", container=container, fields=""))
    assert unpacked(packed(packing), container, tmp_path) == {"model": b"content"}


@of_each
def test_the_slot_is_compared_with_what_was_packed(packing: Project, container: str) -> None:
    size = len(packed(packing))
    for slot, status in ((size, 0), (size - 1, 2)):
        packing.sconstruct(
            IMAGE.format(of="model", container=container, fields=f", slot_size={slot}")
        )
        ran = packing.scons()
        assert ran.status == status, ran.text
    assert f"{size:,} bytes, 1 more than its slot" in ran.text


@pytest.mark.parametrize("container", ["erofs", "squashfs"])
def test_a_program_that_is_missing_is_named(
    container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=f"{PROGRAMS[container]} was not found"):
        containers.program_of(container)
