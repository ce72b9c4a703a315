"""A function over many windows on all cores, a few at a time, with the results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_MOST = 8
_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")


def in_order(function: Callable[[_ItemT], _ResultT], items: Iterable[_ItemT]) -> Iterator[_ResultT]:
    """The results. At most one item more than there are cores is in memory. zstd, SHA-256 and
    numpy let other threads run."""
    cores = min(os.cpu_count() or 1, _MOST)
    pending: deque[Future[_ResultT]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > cores:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
