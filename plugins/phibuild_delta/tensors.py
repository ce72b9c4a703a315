"""Where the tensors of an artifact lie, as the backend of its format tells, also inside of a model
image."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from phibuild_firmware.descriptor import SIZE, BadImage, Descriptor, parse

from phibuild.api import describe_artifact
from phibuild_delta.spaces import File, bad_path

_HEADER_ROOM = 64 << 20
"""Bytes at the beginning of a file that surely hold its header."""
_FILE, _TAR = 0, 3


class Placed(NamedTuple):
    """A tensor and where its bytes begin in the artifact's space."""

    name: str
    type: str
    offset: int
    size: int


class Content(NamedTuple):
    """The files of an artifact, or of the payload of a model image, and the tensors in them."""

    files: tuple[File, ...]
    tensors: tuple[Placed, ...]


def content_of(root: Path, files: Sequence[File]) -> Content:
    """What is known of an artifact; no tensors of one that no backend knows."""
    if root.is_dir():
        return _described(root, files)
    with root.open("rb") as file:
        try:
            image = parse(file.read(SIZE))
        except BadImage:
            return _described(root, files)
        with tempfile.TemporaryDirectory(prefix="phibuild-") as folder:
            payload = Path(folder) / "payload"
            return _described(payload, _hollow(file, image, payload))


def _described(root: Path, files: Sequence[File]) -> Content:
    found = describe_artifact(root)
    by_path = {one.path: one for one in files}
    tensors = (
        Placed(one.name, one.type, by_path[one.file].start + one.offset, one.size)
        for one in (found.tensors if found else ())
        if one.offset is not None
        and one.size
        and one.file in by_path
        and one.offset + one.size <= by_path[one.file].size
    )
    return Content(tuple(files), tuple(tensors))


def _hollow(image: BinaryIO, descriptor: Descriptor, to: Path) -> tuple[File, ...]:
    """The payload as backends read it, with holes behind the headers; where its files lie in the
    image. Nothing of a container that can only be mounted."""
    start, size = descriptor.payload_offset, descriptor.payload_size
    if descriptor.container == _FILE:
        _beginning(image, start, size, to)
        return (File("", size, start=start),)
    if descriptor.container != _TAR:
        return ()
    image.seek(start)
    found = []
    try:
        with tarfile.open(fileobj=image, mode="r:") as archive:
            for one in archive:
                if one.isreg() and not bad_path(one.name):
                    found.append(File(one.name, one.size, start=one.offset_data))
    except tarfile.TarError:
        return ()
    to.mkdir()
    for member in found:
        path = to / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _beginning(image, member.start, member.size, path)
    return tuple(found)


def _beginning(image: BinaryIO, start: int, size: int, to: Path) -> None:
    image.seek(start)
    with to.open("wb") as hollow:
        hollow.write(image.read(min(size, _HEADER_ROOM)))
        hollow.truncate(size)
