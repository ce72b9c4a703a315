"""Models in EROFS, squashfs and tar: real tools unpack them, only the files decide the bytes."""

from __future__ import annotations

import os
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from phibuild_firmware.descriptor import parse

from tests.conftest import Project
from tests.firmware.tools import needed_tool

FILES = {
    "model.onnx": random.Random(1).randbytes(9_000),
    "onnx/weights.data": random.Random(2).randbytes(300_001),
    "same.data": random.Random(2).randbytes(300_001),
    "genai_config.json": b"{}\n",
    "empty": b"",
    "sparse": bytes(200_000) + b"1",
}
CONTAINERS = {"erofs": 1, "squashfs": 2, "tar": 3}
PROGRAMS = {"erofs": "mkfs.erofs", "squashfs": "mksquashfs"}


def packed(folder: Path, kind: str, *, names: list[str], mode: int, mtime: int) -> Project:
    """A project whose folder `model` was written in this order, and packed."""
    if kind in PROGRAMS:
        needed_tool(PROGRAMS[kind])
    project = Project(folder, {"PHIBUILD_STORE": str(folder / "store")})
    for name in names:
        path = folder / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
        path.chmod(mode)
        os.utime(path, (mtime, mtime))
    project.sconstruct(f'env.FirmwareImage("build/m.img", "model", container="{kind}")\n')
    ran = project.scons()
    assert ran.status == 0, ran.text
    return project


def payload_of(image: Path, to: Path) -> Path:
    content = image.read_bytes()
    descriptor = parse(content)
    start = descriptor.payload_offset
    to.write_bytes(content[start : start + descriptor.payload_size])
    return to


def unpacked(payload: Path, kind: str, to: Path) -> dict[str, bytes]:
    if kind == "erofs":
        subprocess.run([needed_tool("fsck.erofs"), f"--extract={to}", payload], check=True)
    elif kind == "squashfs":
        subprocess.run([needed_tool("unsquashfs"), "-q", "-n", "-d", to, payload], check=True)
    else:
        with tarfile.open(payload) as archive:
            files = [
                (entry.name, archive.extractfile(entry)) for entry in archive if entry.isfile()
            ]
            return {name: file.read() for name, file in files if file is not None}
    return {
        path.relative_to(to).as_posix(): path.read_bytes()
        for path in to.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_real_tool_unpacks_what_was_packed(tmp_path: Path, kind: str) -> None:
    project = packed(tmp_path / "one", kind, names=list(FILES), mode=0o644, mtime=1_000_000)
    image = tmp_path / "one" / "build" / "m.img"
    assert parse(image.read_bytes()).container == CONTAINERS[kind]
    payload = payload_of(image, tmp_path / "payload")
    assert unpacked(payload, kind, tmp_path / "unpacked") == FILES
    assert project.scons().text == "scons: `.' is up to date.\n"
    names = {"erofs": "EROFS", "squashfs": "squashfs", "tar": "tar"}
    assert f"FILE, {names[kind]}" in project.phibuild("show", "build/m.img").text


@pytest.mark.parametrize("kind", CONTAINERS)
def test_only_names_and_bytes_decide_an_image(tmp_path: Path, kind: str) -> None:
    first = tmp_path / "one"
    packed(first, kind, names=list(FILES), mode=0o644, mtime=1_000_000)
    before = os.umask(0o077)
    try:
        second = tmp_path / "in another" / "folder"
        packed(second, kind, names=[*reversed(FILES)], mode=0o755, mtime=1_700_000_000)
    finally:
        os.umask(before)
    assert (first / "build" / "m.img").read_bytes() == (second / "build" / "m.img").read_bytes()


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_single_file_is_packed_on_request(project: Project, tmp_path: Path, kind: str) -> None:
    if kind in PROGRAMS:
        needed_tool(PROGRAMS[kind])
    content = FILES["onnx/weights.data"]
    (project.folder / "any name").write_bytes(content)
    project.sconstruct(f'env.FirmwareImage("m.img", "any name", container="{kind}")\n')
    ran = project.scons()
    assert ran.status == 0, ran.text
    payload = payload_of(project.folder / "m.img", tmp_path / "payload")
    assert unpacked(payload, kind, tmp_path / "unpacked") == {"model.bin": content}
    if kind != "squashfs":
        assert payload.read_bytes().index(content) % {"erofs": 4096, "tar": 512}[kind] == 0


def test_the_slot_is_compared_with_the_padded_container(project: Project) -> None:
    needed_tool("mkfs.erofs")
    (project.folder / "in.bin").write_bytes(bytes(65_536 - 4096))  # fits, but not in a file system
    fields = 'container="erofs", erase_size="64 KiB", slot_size="64 KiB"'
    project.sconstruct(f'env.FirmwareImage("m.img", "in.bin", {fields})\n')
    ran = project.scons()
    assert ran.status == 2
    assert "[PHI701] the image has 131,072 bytes, 65,536 more than its slot of 65,536" in ran.text


def test_a_missing_program_is_one_error(project: Project) -> None:
    project.write("in.bin", "model")
    project.sconstruct('env.FirmwareImage("m.img", "in.bin", container="erofs")\n')
    ran = project.scons(PATH=str(project.folder))
    assert ran.status == 2
    assert "[PHI606] mkfs.erofs was not found on PATH" in ran.text
    assert "apt install erofs-utils" in ran.text
    assert "Traceback" not in ran.text


def test_the_version_of_a_program_is_a_fact(project: Project, tmp_path: Path) -> None:
    """A script in front of the real program prints another version later."""
    real, script = needed_tool("mkfs.erofs"), tmp_path / "mkfs.erofs"

    def install(version: str) -> None:
        answer = f'if [ "$1" = -V ]; then echo "mkfs.erofs {version}"; exit; fi'
        script.write_text(f'#!/bin/sh\n{answer}\nexec {real} "$@"\n')
        script.chmod(0o755)

    install("1.5")
    path = f"{tmp_path}:{os.environ['PATH']}"
    project.write("in.bin", "model")
    project.sconstruct('env.FirmwareImage("m.img", "in.bin", container="erofs")\n')
    assert project.scons(PATH=path).status == 0
    assert project.scons(PATH=path).text == "scons: `.' is up to date.\n"
    install("1.5.1")
    assert (
        "program.mkfs.erofs changed: mkfs.erofs 1.5 → mkfs.erofs 1.5.1"
        in project.phibuild("explain", "m.img", PATH=path).text
    )
    assert project.scons(PATH=path).actions == ["firmware.image"]
