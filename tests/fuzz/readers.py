"""The readers of foreign bytes: each is given bytes, and either reads them or raises its error.

What is imported inside functions is instrumented by the runner.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import seeds

Read = Callable[[bytes], None]
"""Returns if the bytes are good, or are refused by the error that the reader's docstring names."""


class Reader(NamedTuple):
    """A reader by name: `make` prepares it in a folder of its own, `seeds` are inputs to begin
    with."""

    name: str
    make: Callable[[Path], Read]
    seeds: Callable[[], list[bytes]]


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is removed again, in memory where there is such a place."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


def _safetensors(folder: Path) -> Read:
    from phibuild.model.errors import SourceError
    from phibuild.source.safetensors import read_safetensors_header

    return _of_file(folder / "model.safetensors", read_safetensors_header, SourceError)


def _checkpoint(name: str) -> Callable[[Path], Read]:
    """A checkpoint of which one file holds the bytes, as it is read for an SConstruct."""

    def make(folder: Path) -> Read:
        from phibuild.model.errors import SourceError
        from phibuild.source import lay_out, read_checkpoint
        from phibuild.source.summary import summarize

        model = seeds.checkpoint(folder / "model")
        memory = seeds.KnownWeights(model)

        def read(path: Path) -> None:
            checkpoint = read_checkpoint(model, memory)
            summarize(checkpoint)
            shutil.rmtree(folder / "view", ignore_errors=True)
            slices = ("architecture", "tokenizer", "chat_template", "generation")
            lay_out(checkpoint, slices, folder / "view")

        return _of_file(model / name, read, SourceError)

    return make


def _gguf(folder: Path) -> Read:
    from phibuild_gguf.describe import describe

    from phibuild.api import PhiError

    return _of_file(folder / "model.gguf", describe, PhiError)


def _ir(folder: Path) -> Read:
    from phibuild_openvino.describe import describe

    from phibuild.api import PhiError

    (folder / "openvino_model.bin").write_bytes(bytes(28))
    return _of_file(folder / "openvino_model.xml", lambda path: describe(path.parent), PhiError)


def _onnx(folder: Path) -> Read:
    from phibuild_onnx.describe import describe

    from phibuild.api import PhiError

    (folder / "model.onnx.data").write_bytes(bytes(8))
    (folder / "genai_config.json").write_text('{"model": {"type": "phi3"}}')
    return _of_file(folder / "model.onnx", lambda path: describe(path.parent), PhiError)


def _image(folder: Path) -> Read:
    from phibuild_firmware.describe import describe

    from phibuild.api import PhiError

    read = _of_file(folder / "model.img", describe, PhiError)
    return lambda content: read(seeds.sealed(content))


def _delta(folder: Path) -> Read:
    from phibuild_delta.apply import apply_delta

    from phibuild.api import PackagingError

    old = folder / "old"
    old.write_bytes(seeds.OLD)

    def read(path: Path) -> None:
        try:
            apply_delta(old, path, folder / "new")
        finally:
            for part in folder.glob(".new.*"):
                part.unlink() if part.is_file() else shutil.rmtree(part)
            (folder / "new").unlink(missing_ok=True)

    return _of_file(folder / "a.phidelta", read, PackagingError)


def _records(folder: Path) -> Read:
    """All of a delta of trees, whatever it is a delta of."""
    from phibuild_delta.records import read_files, read_header, read_records

    from phibuild.api import PackagingError

    def read(content: bytes) -> None:
        file = io.BytesIO(content)
        with contextlib.suppress(PackagingError):
            header = read_header(file)
            read_files(file, header)
            for _ in read_records(file, header):
                pass

    return read


def _lock(folder: Path) -> Read:
    from phibuild.model.errors import ToolchainError
    from phibuild.toolchain.lock import read_lock

    return _of_file(folder / "toolchain.lock", read_lock.__wrapped__, ToolchainError)


def _manifest(folder: Path) -> Read:
    from phibuild.model.errors import StoreError
    from phibuild.model.manifest import Manifest

    def read(content: bytes) -> None:
        with contextlib.suppress(StoreError, UnicodeDecodeError):
            Manifest.from_text(content.decode(), where="here").to_text()

    return read


def _result(folder: Path) -> Read:
    from phibuild.store.results import ActionResult

    def read(content: bytes) -> None:
        with contextlib.suppress(ValueError):
            ActionResult.from_text(content.decode()).to_text()

    return read


def _messages(folder: Path) -> Read:
    from phibuild.executors.messages import NotOfTheProtocol, read_message

    def read(content: bytes) -> None:
        for line in content.split(b"\n"):
            with contextlib.suppress(NotOfTheProtocol):
                read_message(line)

    return read


def _of_file(path: Path, read: Callable[[Path], object], error: type[Exception]) -> Read:
    def of_bytes(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(error):
            read(path)

    return of_bytes


READERS = {
    reader.name: reader
    for reader in (
        Reader("safetensors", _safetensors, seeds.safetensors),
        *(
            Reader(name, _checkpoint(name), partial_seed)
            for name, partial_seed in seeds.DOCUMENTS.items()
        ),
        Reader("gguf", _gguf, seeds.gguf),
        Reader("openvino", _ir, seeds.ir),
        Reader("onnx", _onnx, seeds.onnx),
        Reader("image", _image, seeds.image),
        Reader("delta", _delta, seeds.delta),
        Reader("records", _records, seeds.delta_of_trees),
        Reader("lock", _lock, seeds.lock),
        Reader("manifest", _manifest, seeds.manifest),
        Reader("result", _result, seeds.result),
        Reader("messages", _messages, seeds.messages),
    )
}
