"""Writes a safetensors file tensor by tensor, with the same bytes that MLX writes at once. Another
core writes and digests finished tensors while the next are computed, which saves memory too."""

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
"""Tensors that may wait to be written before the next one is accepted."""


class ShardLayout:
    """The header of a file as MLX writes it. `ranges` are the begin and end of each array's bytes,
    in the file's order."""

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
        self.ranges = {
            name: (start + fields[name]["data_offsets"][0], start + fields[name]["data_offsets"][1])
            for name in dtypes
        }


class ShardStream:
    """A file that is being written in the layout's order. After the `with` block `sha256` is the
    digest of the whole file, and the futures that `write` returned hold those of the arrays."""

    def __init__(self, path: Path, header: bytes) -> None:
        self.file = path.open("wb")
        self.pool = ThreadPoolExecutor(1)
        self.waiting: deque[Future[str]] = deque()
        self.digest = hashlib.sha256(header)
        self.file.write(header)

    def __enter__(self) -> ShardStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown()
        self.file.close()
        for digest in self.waiting:
            digest.result()

    @property
    def sha256(self) -> str:
        return self.digest.hexdigest()

    def write(self, content: memoryview) -> Future[str]:
        """Write the bytes, and digest them, on the other core."""
        self.waiting.append(self.pool.submit(self._write, content))
        if len(self.waiting) > BEHIND:
            self.waiting.popleft().result()
        return self.waiting[-1]

    def _write(self, content: memoryview) -> str:
        self.file.write(content)
        self.digest.update(content)
        return hashlib.sha256(content).hexdigest()
