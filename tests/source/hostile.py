"""Hostile checkpoints: changes of a good one, by kind of thing, file and field."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from phibuild.source.fields import CONFIG_FIELDS, GENERATION_FIELDS, TOKENIZER_FIELDS
from phibuild.source.files import INDEX, TEMPLATES

SHARD = "model-00001-of-00002.safetensors"
DOCUMENTS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "added_tokens.json",
    "special_tokens_map.json",
    INDEX,
)
TEXTS = ("chat_template.jinja", "tokenizer.model", "README.md")
HARMLESS = frozenset({"README.md"})
"""Only the license is read in it, and nothing depends on that."""
NOT_TEXT = {
    ("tokenizer.model", kind) for kind in ("UTF-16", "a byte order mark", "bytes that are not text")
}
"""A file of bytes, which whoever reads it as a tokenizer understands."""

Edit = Callable[[Path], object]


class Hostile(NamedTuple):
    """A checkpoint that `edit` makes of a good one; it must be refused unless `may_be_right`."""

    name: str
    edit: Edit
    may_be_right: bool = False


def replaced(name: str, make: Callable[[Path], object]) -> Edit:
    """Make something else where the file is."""

    def edit(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return edit


def content(value: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(value)


def a_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is at most 108 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as unix_socket:
            unix_socket.bind(path.name)
    finally:
        os.chdir(here)


def sparse(size: int, head: bytes = b"") -> Callable[[Path], object]:
    """A file of that size with hardly any bytes on the disk."""

    def make(path: Path) -> None:
        path.write_bytes(head)
        os.truncate(path, size)

    return make


THINGS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": a_socket,
    "a folder": Path.mkdir,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to the folder": lambda path: path.symlink_to("."),
    "a link to /proc": lambda path: path.symlink_to("/proc/self/maps"),
    "5 GB of nothing": sparse(5 << 30),
    "nothing": content(b""),
    "a git-lfs pointer": content(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    "UTF-16": content("{}".encode("utf-16")),
    "a byte order mark": content(b"\xef\xbb\xbf{}"),
    "bytes that are not text": content(b'{"a": "\xff\xfe"}' * 100),
}
JSON: dict[str, Callable[[Path], object]] = {
    "deep lists": content(b"[" * 200_000),
    "deep objects": content(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "lists at the limit": content(b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}"),
    "ten million lists": content(b'{"a": [' + b"[]," * 5_000_000 + b"[]]}"),
    "NaN": content(b'{"model_type": "phi3", "x": NaN}'),
    "infinity": content(b'{"model_type": "phi3", "x": -Infinity}'),
    "a number beyond floats": content(b'{"model_type": "phi3", "x": 1e999}'),
    "a long number": content(b'{"model_type": "phi3", "x": ' + b"9" * 400 + b"}"),
    "a very long number": content(b'{"model_type": "phi3", "x": ' + b"9" * 100_000 + b"}"),
    "half a character": content(b'{"model_type": "phi3", "x": "\\ud800"}'),
    "half a character in a key": content(b'{"model_type": "phi3", "\\udfff": 1}'),
    "a key twice": content(b'{"model_type": "phi3", "model_type": "phi"}'),
    "a list": content(b"[]"),
    "a string": content(b'"phi3"'),
    "null": content(b"null"),
    "zeros": content(bytes(5000)),
    "two documents": content(b"{}{}"),
}
VALUES: dict[str, Any] = {
    "0": 0,
    "-1": -1,
    "a billion": 10**9,
    "2^31": 1 << 31,
    "2^63": 1 << 63,
    "10^300": 10**300,
    "1.5": 1.5,
    "true": True,
    "a text": "\x1b[31mred\n",
    "a list": [1, 2],
    "an object": {"a": {"b": []}},
    "null": None,
}


def with_field(document: str, field: str, value: Any) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / document
        fields = json.loads(path.read_bytes()) if path.exists() else {}
        path.unlink(missing_ok=True)  # it may be a link to the good one's
        path.write_text(json.dumps(fields | {field: value}))

    return edit


def header(text: bytes, data: int = 0, *, length: int | None = None) -> Callable[[Path], object]:
    """A safetensors file with that header, and so many bytes behind it."""
    size = len(text) if length is None else length
    return sparse(8 + len(text) + data, (size % (1 << 64)).to_bytes(8, "little") + text)


def a_tensor(name: str = "a", data: int = 4, **fields: Any) -> Callable[[Path], object]:
    good = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    return header(json.dumps({name: good | fields}).encode(), data)


def many(count: int, *, numbered: bool = True) -> bytes:
    entry = '"{}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    names = (f"model.layers.{number}.x" if numbered else "a" for number in range(count))
    return ("{" + ",".join(entry.format(name) for name in names) + "}").encode()


TERA = 1 << 42
HEADERS: dict[str, Callable[[Path], object]] = {
    "a length beyond the file": header(b"{}", length=100),
    "a length of 2^63": header(b"{}", length=1 << 63),
    "a length of -1": header(b"{}", length=-1),
    "a header that ends early": header(b'{"a": {}}', length=4),
    "seven bytes": content(b"1234567"),
    "no tensors": header(b"{}"),
    "metadata only": header(b'{"__metadata__": {"format": "pt"}}'),
    "metadata that is a list": header(b'{"__metadata__": []}'),
    "other names with underscores": a_tensor("__hidden__"),
    "900,000 tensors": lambda path: header(many(900_000))(path),
    "90,000 tensors without bytes": lambda path: header(many(90_000))(path),
    "one name 1,000 times": header(many(1000, numbered=False)),
    "overlapping tensors": header(
        b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
        b'"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}',
        6,
    ),
    "a gap": a_tensor(data_offsets=[4, 8], data=8),
    "an offset beyond the file": a_tensor(data_offsets=[1 << 40, (1 << 40) + 4]),
    "offsets the wrong way round": a_tensor(data_offsets=[4, 0]),
    "a negative offset": a_tensor(data_offsets=[-4, 0]),
    "offsets of floats": a_tensor(data_offsets=[0.0, 4.0]),
    "three offsets": a_tensor(data_offsets=[0, 4, 8]),
    "offsets that are a text": a_tensor(data_offsets="04"),
    "true as an offset": a_tensor(data_offsets=[False, 4]),
    "a huge shape": a_tensor(shape=[1 << 62, 1 << 62]),
    "a shape of 10^400": a_tensor(shape=[10**400]),
    "a million dimensions": a_tensor(shape=[1] * 1_000_000),
    "a shape with a zero": a_tensor(shape=[0, 1 << 62], data_offsets=[0, 0], data=0),
    "a negative shape": a_tensor(shape=[-1, -1]),
    "a shape that is a text": a_tensor(shape="1"),
    "a shape that is null": a_tensor(shape=None),
    "an unknown dtype": a_tensor(dtype="F4"),
    "a dtype that is a list": a_tensor(dtype=["F32"]),
    "a name with a line end": a_tensor("a\nb"),
    "a name that a terminal obeys": a_tensor("\x1b]0;x\x07"),
    "a name that is empty": a_tensor(""),
    "a name of a million letters": a_tensor("a" * 1_000_000),
    "a name that is a path": a_tensor("../../etc/passwd"),
    "half a character as a name": header(
        b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4
    ),
    "a tensor that is a list": header(b'{"a": []}'),
    "a header that is a list": header(b"[]"),
    "deep lists": header(b'{"a":' + b"[" * 100_000),
    "a header of 5 GB": sparse(5 << 30, (5 << 30).to_bytes(8, "little")),
    "8 TB of nothing": header(
        json.dumps({"a": {"dtype": "U8", "shape": [TERA], "data_offsets": [0, TERA]}}).encode(),
        TERA,
    ),
    "bytes behind the tensors": a_tensor(data=100),
    "bytes that are missing": a_tensor(data=3),
    "pickled weights": content(b"PK\x03\x04" + bytes(100)),
}


def beside(name: str | bytes, value: bytes = b"x") -> Edit:
    """Another file in the folder."""

    def edit(folder: Path) -> None:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(value)

    return edit


def with_index(value: Any) -> Edit:
    return replaced(INDEX, content(json.dumps({"weight_map": value}).encode()))


def with_token(token: Any) -> Edit:
    return with_field("tokenizer.json", "added_tokens", [token])


OTHERS: dict[str, tuple[Edit, bool]] = {
    "a name with a line end": (beside("a\nb"), True),
    "a name that a terminal obeys": (beside("\x1b[2J"), True),
    "a name that is not UTF-8": (beside(b"\xff\xfe.json"), True),
    "a name of 255 bytes": (beside("x" * 255), True),
    "shards that are not in the index": (beside("model-00003-of-00002.safetensors"), True),
    "a template with a line end in its name": (beside(f"{TEMPLATES}/a\nb.jinja"), False),
    "a template with no name": (beside(f"{TEMPLATES}/.jinja"), False),
    "a template whose name is not UTF-8": (beside(TEMPLATES.encode() + b"/\xff.jinja"), False),
    "a pipe among the templates": (
        lambda folder: ((folder / TEMPLATES).mkdir(), os.mkfifo(folder / TEMPLATES / "a.jinja")),
        False,
    ),
    "a pipe as the folder of templates": (replaced(TEMPLATES, os.mkfifo), True),
    "an index of nothing": (with_index({}), False),
    "an index that is a list": (with_index([]), False),
    "an index with numbers": (with_index({"a": 1}), False),
    "an index with lists": (with_index({"a": [SHARD]}), False),
    "an index that leads out": (with_index({"a": "../a.safetensors"}), False),
    "an index to a name with a zero byte": (with_index({"a": "a\0.safetensors"}), False),
    "an index to a long name": (with_index({"a": "a" * 5000 + ".safetensors"}), False),
    "an index to pickled weights": (with_index({"a": "a.bin"}), False),
    "an index with half a character": (
        replaced(INDEX, content(b'{"weight_map": {"\\ud800": "' + SHARD.encode() + b'"}}')),
        False,
    ),
    "a token with a huge id": (
        with_token({"id": 10**300, "content": "a"}),
        False,
    ),
    "a token with a negative id": (with_token({"id": -1, "content": "a"}), False),
    "a token that is a list": (with_token([]), False),
    "an id of 5,000 digits": (
        with_field("tokenizer_config.json", "added_tokens_decoder", {"1" * 5000: {"content": "a"}}),
        False,
    ),
    "other weights with a line end": (
        with_field("config.json", "transformers_weights", "a\n.safetensors"),
        False,
    ),
    "other weights with a zero byte": (
        with_field("config.json", "transformers_weights", "a\0.safetensors"),
        False,
    ),
    "a template that is a number": (with_field("tokenizer_config.json", "chat_template", 5), True),
    "no config": (lambda folder: (folder / "config.json").unlink(), False),
    "no weights": (lambda folder: (folder / SHARD).unlink(), False),
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("tokenizer.*")],
        False,
    ),
}


def hostile() -> Iterator[Hostile]:
    """All of them."""
    for name, (kind, make) in product((*DOCUMENTS, *TEXTS, SHARD), THINGS.items()):
        is_read = name not in HARMLESS and (name, kind) not in NOT_TEXT
        yield Hostile(f"{name}: {kind}", replaced(name, make), may_be_right=not is_read)
    for name, (kind, make) in product(DOCUMENTS, JSON.items()):
        yield Hostile(f"{name}: {kind}", replaced(name, make))
    fields = {
        "config.json": CONFIG_FIELDS,
        "generation_config.json": GENERATION_FIELDS,
        "tokenizer_config.json": TOKENIZER_FIELDS,
    }
    for document, known in fields.items():
        for field, (kind, value) in product(known, VALUES.items()):
            edit = with_field(document, field, value)
            yield Hostile(f"{document}: {field} is {kind}", edit, may_be_right=True)
    for kind, make in HEADERS.items():
        yield Hostile(f"a shard with {kind}", replaced(SHARD, make))
    for kind, (edit, may_be_right) in OTHERS.items():
        yield Hostile(kind, edit, may_be_right)
