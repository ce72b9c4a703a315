"""Reads a model image: for `phibuild show`, and where its files and tensors lie for deltas."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from phibuild.api import (
    Description,
    FilePlace,
    PackagingError,
    Tensor,
    describe_artifact,
    open_regular,
)
from phibuild_firmware.descriptor import (
    CONTAINERS,
    SIZE,
    BadImage,
    Descriptor,
    descriptor_sha256,
    parse,
    signature_of,
)

FORMAT = "model image"
_CONTAINER_NAMES = {"erofs": "EROFS", None: "a single file"}
_HEADERS = 64 << 20
"""Bytes at the beginning of a file that hold its header, whatever the format."""


def describe(path: Path) -> Description:
    """The descriptor, after a check of the payload; PackagingError PHI702 if either is damaged."""
    try:
        with open_regular(path) as file:
            page = file.read(SIZE)
            descriptor, signature = parse(page), signature_of(page)
            if descriptor.payload_offset + descriptor.payload_size > path.stat().st_size:
                raise BadImage("its payload is cut off")
            file.seek(descriptor.payload_offset)
            digest, left = hashlib.sha256(), descriptor.payload_size
            while left and (content := file.read(min(left, 1 << 20))):
                digest.update(content)
                left -= len(content)
        if digest.digest() != descriptor.payload_sha256:
            raise BadImage("its payload does not have the digest in its descriptor")
    except (BadImage, OSError) as error:
        raise PackagingError(f"{path}: {error}", hint="build it again", code="PHI702") from None
    container = CONTAINERS.get(descriptor.container, "unknown")
    metadata = {
        "payload": f"{descriptor.format.strip()}, {_CONTAINER_NAMES.get(container, container)}",
        "payload_offset": descriptor.payload_offset,
        "payload_size": descriptor.payload_size,
        "payload_sha256": descriptor.payload_sha256.hex(),
        "tokenizer_digest": descriptor.tokenizer_digest.hex(),
        "chat_template_digest": descriptor.chat_template_digest.hex(),
        "model_id": descriptor.model_id,
        "recipe": descriptor.recipe,
        "descriptor_sha256": descriptor_sha256(page).hex(),
        "signature": "none" if signature is None else "ed25519",
        **({} if signature is None else {"key_id": signature.key_id.hex()}),
    }
    return Description(FORMAT, (), tuple((name, str(value)) for name, value in metadata.items()))


def contents(path: Path) -> Description | None:
    """Where files and tensors lie in an image; None for a file that is not one, or is damaged."""
    if not path.is_file():
        return None
    with open_regular(path) as image, tempfile.TemporaryDirectory(prefix="phibuild-") as folder:
        try:
            payload = Path(folder) / "payload"
            files = _copy_headers(image, parse(image.read(SIZE)), payload)
            description = describe_artifact(payload) if files else None
        except (BadImage, OSError, tarfile.TarError):
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
