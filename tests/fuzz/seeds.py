"""Good inputs to begin with, generated, and what a reader finds around them."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from phibuild.foreign import read_regular
from phibuild.model.digest import Digest
from phibuild.model.facts import Fact
from phibuild.model.manifest import Manifest
from phibuild.model.tree import Entry, Tree
from phibuild.source.files import INDEX
from phibuild.source.tensors import Memory, read_headers, read_tensors
from phibuild.store.results import ActionResult
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.plugins.gguf_bytes import SOUND

OLD = bytes(range(256)) * 40
_NEW = OLD[:5000] + b"another" + OLD[6000:]
_TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": 5, "content": "<|end|>", "special": True, "rstrip": True}],
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
}
_LOCK = """\
# a comment
numpy==2.4.0 ; python_full_version >= "3.11" \\
    --hash=sha256:0000000000000000000000000000000000000000000000000000000000000000
"""
_IR = """\
<?xml version="1.0"?>
<net name="m" version="11"><layers>
<layer id="0" name="w" type="Const"><data element_type="u4" shape="2, 8" offset="0" size="8"/>
</layer><layer id="1" name="l" type="Loop"><body><layers><layer name="s" type="Const">
<data element_type="f16" shape="2,1" offset="8" size="4"/></layer></layers></body></layer>
</layers><rt_info><nncf><mode value="int4"/></nncf></rt_info></net>
"""


class NoMemory:
    """Remembers nothing of a file."""

    def recall(self, path: Path, kind: str) -> str | None:
        return None

    def record(self, path: Path, kind: str, value: str, *, seen: str) -> None:
        pass

    def signature(self, path: Path) -> str:
        return ""


class KnownWeights(NoMemory):
    """Remembers the tensors of a checkpoint as its shards were when this was made."""

    def __init__(self, model: Path) -> None:
        self._known: dict[Path, str] = {}
        memory: Memory = _Recorder(self._known)
        read_tensors(read_headers(tuple(model.glob("*.safetensors")), memory), memory, None)

    def recall(self, path: Path, kind: str) -> str | None:
        return self._known.get(path) if kind == "weights" else None


class _Recorder(NoMemory):
    def __init__(self, known: dict[Path, str]) -> None:
        self._known = known

    def record(self, path: Path, kind: str, value: str, *, seen: str) -> None:
        self._known[path] = value


def checkpoint(folder: Path, *, family: str = "phi-3.5-moe") -> Path:
    """A checkpoint of two shards that has every file which a slice may be read from."""
    write_checkpoint(folder, FAMILIES[family], layers=1, shards=2)
    (folder / "tokenizer.json").write_text(json.dumps(_TOKENIZER))
    (folder / "added_tokens.json").write_text('{"<|end|>": 5}')
    (folder / "special_tokens_map.json").write_text('{"eos_token": {"content": "<|end|>"}}')
    return folder


@cache
def _of_checkpoint(name: str) -> list[bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        contents = []
        for family in FAMILIES:
            path = checkpoint(Path(scratch) / family, family=family) / name
            contents += [read_regular(path, most=1 << 20)] if path.exists() else []
        return contents


DOCUMENTS: dict[str, Callable[[], list[bytes]]] = {
    "chat_template.jinja": lambda: [b"{% for one in messages %}{{ one.content }}{% endfor %}"],
    **{
        name: partial(_of_checkpoint, name)
        for name in (
            "config.json",
            "generation_config.json",
            "tokenizer_config.json",
            "tokenizer.json",
            "added_tokens.json",
            "special_tokens_map.json",
            "tokenizer.model",
            "README.md",
            INDEX,
        )
    },
}


def safetensors() -> list[bytes]:
    """Two tensors; and none."""
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]},
        "b": {"dtype": "U8", "shape": [3], "data_offsets": [8, 11]},
    }
    return [_with_length(json.dumps(header).encode()) + bytes(11), _with_length(b"{}")]


def _with_length(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def gguf() -> list[bytes]:
    """A file with each kind of value."""
    return [SOUND]


def ir() -> list[bytes]:
    """An IR with a constant in a loop."""
    return [_IR.encode()]


def onnx() -> list[bytes]:
    """A graph with one tensor beside it and one in it."""

    def field(number: int, value: bytes | int) -> bytes:
        if isinstance(value, int):
            return bytes((number << 3, value))
        return bytes((number << 3 | 2, len(value))) + value

    places = {b"location": b"model.onnx.data", b"offset": b"0", b"length": b"8"}
    outside = b"".join(field(13, field(1, key) + field(2, value)) for key, value in places.items())
    tensors = (
        field(1, 2) + field(2, 1) + field(8, b"w") + outside,
        field(1, b"\x01\x02") + field(2, 10) + field(8, b"v") + field(9, b"abcd"),
    )
    graph = b"".join(field(5, tensor) for tensor in tensors)
    return [field(2, b"made") + field(7, graph)]


def image() -> list[bytes]:
    """A model image of a file."""
    from phibuild_firmware.descriptor import Descriptor

    payload = b"payload"
    digest = bytes.fromhex(Digest.of(payload).hex)
    page = Descriptor(
        "GGUF", 0, 4096, len(payload), digest, bytes(32), bytes(32), 4096, "id", "Q4_0"
    ).to_bytes()
    return [page.ljust(4096, b"\0") + payload]


def delta() -> list[bytes]:
    """Deltas between two files, in both directions of change."""
    from phibuild_delta.make import make_delta

    with tempfile.TemporaryDirectory() as scratch:
        old, new, delta_file = (Path(scratch) / name for name in ("old", "new", "a.phidelta"))
        old.write_bytes(OLD)
        new.write_bytes(_NEW)
        make_delta(old, new, delta_file, lambda _: None, window=4096)
        return [delta_file.read_bytes()]


def delta_of_trees() -> list[bytes]:
    """A delta between two folders."""
    from phibuild_delta.make import make_delta

    with tempfile.TemporaryDirectory() as scratch:
        old, new, delta_file = (Path(scratch) / name for name in ("old", "new", "a.phidelta"))
        for folder, content in ((old, OLD), (new, _NEW)):
            (folder / "sub").mkdir(parents=True)
            (folder / "a.bin").write_bytes(content)
            (folder / "sub" / "b.txt").write_bytes(b"text")
        make_delta(old, new, delta_file, lambda _: None, window=4096)
        return [delta_file.read_bytes(), *delta()]


def lock() -> list[bytes]:
    """A lock with a marker and a hash."""
    return [_LOCK.encode()]


_TREE = Tree((Entry("a.bin", Digest.of(b"a"), 1), Entry("b/c.txt", Digest.of(b"c"), 1, True)))


def manifest() -> list[bytes]:
    """Of a folder."""
    return [Manifest("dist/m", "ONNX", Digest.of(b"k"), 12, _TREE).to_text().encode()]


def result() -> list[bytes]:
    """Of an action with an input."""
    recorded = ActionResult(
        key=Digest.of(b"k"),
        action="onnx.weights",
        facts=(Fact("recipe.precision", '"int4"'),),
        inputs=(("model", Digest.of(b"i")),),
        tree=_TREE,
        seconds=1.5,
        peak_bytes=1 << 30,
        finished="2026-01-01T00:00:00+00:00",
        maker="phibuild",
    )
    return [recorded.to_text().encode()]


def messages() -> list[bytes]:
    """One of each kind."""
    digest = "0" * 64
    lines: list[dict[str, object]] = [
        {"progress": 0.5, "text": "layer 3"},
        {"recall": ["a", "b"]},
        {"remember": [0, "a", "b.bin", 0, 10, digest]},
        {"written": [0, "b.bin", digest]},
        {"error": {"code": "PHI401", "message": "it fails", "hint": "do not"}},
        {"errno": 28},
    ]
    return ["\n".join(map(json.dumps, lines)).encode()]


def sealed(content: bytes) -> bytes:
    """An image whose descriptor has the digest that it should have."""
    import hashlib

    size = 368
    return content[:size] + hashlib.sha256(content[:size]).digest() + content[size + 32 :]


def words(content: bytes) -> set[bytes]:
    """What is worth trying again elsewhere: the words in a good input."""
    import re

    return set(re.findall(rb"[A-Za-z_][\w.-]{1,30}", content))


NUMBERS = tuple(
    struct.pack("<Q", number) for number in (0, 1, 1 << 31, 1 << 32, 1 << 62, (1 << 64) - 1)
)
