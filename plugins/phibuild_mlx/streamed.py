"""Writes a safetensors file tensor by tensor, to the bytes that MLX writes at once: what is
finished goes to the disk and is digested on another core while the next tensors are made, and need
not stay in memory."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

BEHIND = 8
"""Tensors that wait to be written before the next one has to wait for them."""


class Layout:
    """Where MLX puts each array of a file, and the file's header. `places` are in the file's order:
    begin and end of each array's bytes."""

    def __init__(
        self, save: Callable[..., None], path: Path, arrays: Mapping[str, Any], **options: Any
    ) -> None:
        import mlx.core as mx
        from safetensors import safe_open

        # The order is that of a hash table in C++, which only MLX knows.
        small = {name: mx.zeros((1,), dtype=array.dtype) for name, array in arrays.items()}
        save(str(path), small, **options)
        with safe_open(path, framework="numpy") as file:
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.offset_keys()}
            fields: dict[str, Any] = {"__metadata__": file.metadata()}
        end = 0
        for name, dtype in dtypes.items():
            begin, end = end, end + arrays[name].nbytes
            shape = list(arrays[name].shape)
            fields[name] = {"data_offsets": [begin, end], "dtype": dtype, "shape": shape}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.header = struct.pack("<Q", len(text.encode())) + text.encode()
        start = len(self.header)
        self.places = {
            name: (start + fields[name]["data_offsets"][0], start + fields[name]["data_offsets"][1])
            for name in dtypes
        }


class Stream:
    """The file while it is written, in the layout's order. After the `with` block `sha256` is of
    the whole file, and the futures that `write` returned hold those of the arrays."""

    def __init__(self, path: Path, header: bytes) -> None:
        self.file = path.open("wb")
        self.pool = ThreadPoolExecutor(1)
        self.waiting: deque[Future[str]] = deque()
        self.digest = hashlib.sha256(header)
        self.file.write(header)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown()
        self.file.close()
        for one in self.waiting:
            one.result()

    @property
    def sha256(self) -> str:
        return self.digest.hexdigest()

    def write(self, content: memoryview) -> Future[str]:
        """Have the bytes written, and digested."""
        self.waiting.append(self.pool.submit(self._write, content))
        if len(self.waiting) > BEHIND:
            self.waiting.popleft().result()
        return self.waiting[-1]

    def _write(self, content: memoryview) -> str:
        self.file.write(content)
        self.digest.update(content)
        return hashlib.sha256(content).hexdigest()
