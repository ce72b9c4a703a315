"""Where files and tensors lie in a model image, for deltas."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from phibuild.api import Description, FilePlace, Tensor, describe_artifact, open_regular
from phibuild_firmware.describe import FORMAT
from phibuild_firmware.descriptor import CONTAINERS, SIZE, Descriptor, parse

_HEADERS = 64 << 20
"""Bytes at the beginning of a file that hold its header, whatever the format."""


def contents(path: Path) -> Description | None:
    """Where files and tensors lie in an image; None for a file that is not one, or is damaged."""
    if not path.is_file():
        return None
    with open_regular(path) as image, tempfile.TemporaryDirectory(prefix="phibuild-") as folder:
        try:
            descriptor = parse(image.read(SIZE))
            if descriptor.payload_offset + descriptor.payload_size > path.stat().st_size:
                return None
            payload = Path(folder) / "payload"
            files = _copy_headers(image, descriptor, payload)
            description = describe_artifact(payload) if files else None
        except (ValueError, OSError, tarfile.TarError):
            return None
    tensors = _in_image(description.tensors, files) if description else ()
    return Description(FORMAT, tuple(tensors), (), files)


def _in_image(tensors: Iterable[Tensor], files: Iterable[FilePlace]) -> Iterator[Tensor]:
    """The tensors with their offsets in the image."""
    by_path = {file.path: file for file in files}
    for tensor in tensors:
        file = by_path.get(tensor.file)
        if tensor.offset is not None and file and tensor.offset + tensor.size <= file.size:
            yield tensor._replace(file="", offset=file.offset + tensor.offset)


def _copy_headers(image: BinaryIO, descriptor: Descriptor, to: Path) -> tuple[FilePlace, ...]:
    """Write the payload with a hole behind each file's header, which is enough to describe it; the
    places of its files in the image. Nothing of a file system, which can only be mounted."""
    container = CONTAINERS.get(descriptor.container, "unknown")
    if container is None:
        file = FilePlace("", descriptor.payload_offset, descriptor.payload_size)
        _copy_header(image, file, to)
        return (file,)
    if container != "tar":
        return ()
    image.seek(descriptor.payload_offset)
    end = descriptor.payload_offset + descriptor.payload_size
    with tarfile.open(fileobj=image, mode="r:") as archive:
        files = tuple(
            FilePlace(member.name, member.offset_data, member.size)
            for member in archive
            if member.isreg()
            and not {"", ".", ".."}.intersection(member.name.split("/"))
            and member.offset_data + member.size <= end
        )
    to.mkdir()
    for file in files:
        path = to / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _copy_header(image, file, path)
    return files


def _copy_header(image: BinaryIO, file: FilePlace, to: Path) -> None:
    image.seek(file.offset)
    with to.open("wb") as header:
        header.write(image.read(min(file.size, _HEADERS)))
        header.truncate(file.size)
