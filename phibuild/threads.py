"""Work in threads where Python still starts any: it does not while it ends, when plans are
written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def in_threads(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, most: int
) -> Iterator[ResultT]:
    """The results of `work` for each item, in order; at most so many run at the same time."""
    items = list(items)
    try:
        from concurrent.futures import ThreadPoolExecutor  # logging and more: not for a null build

        pool = ThreadPoolExecutor(max_workers=most)
        results = pool.map(work, items)
    except RuntimeError:
        yield from map(work, items)
        return
    with pool:
        yield from results
