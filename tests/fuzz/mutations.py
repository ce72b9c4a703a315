"""Changes of good inputs, the same ones each time, for the short run without a fuzzing engine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.fuzz.seeds import NUMBERS, words

_ODD = (
    *(b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"1.5", b"99999999999999999999", b'""'),
    *(b"[]", b"{}", b'"\\ud800"', b"\xff", b"\0", b"\n", b"[" * 40, b'{"a":' * 40, b"../x"),
    *NUMBERS,
)


def mutations(seeds: Sequence[bytes], *, name: str, count: int) -> Iterator[bytes]:
    """The seeds, cut off in a few places, and `count` inputs with one to four changes each."""
    yield from seeds
    choose = random.Random(name)
    tokens = [*_ODD, *sorted(set().union(*map(words, seeds)))]
    for _ in range(count):
        content = choose.choice(seeds)
        for _ in range(choose.randint(1, 4)):
            content = _changed(content, choose, tokens)
        yield content


def _changed(content: bytes, choose: random.Random, tokens: Sequence[bytes]) -> bytes:
    start = choose.randint(0, len(content))
    end = min(len(content), start + choose.choice((0, 1, 1, 2, 8, 100)))
    match choose.randrange(6):
        case 0:
            return content[:start]
        case 1:
            return content[:start] + content[end:]
        case 2:
            return content[:start] + choose.randbytes(end - start) + content[end:]
        case 3:
            return content[:end] + content[start:]
        case 4:
            return _with_value(content, choose, choose.choice(tokens))
        case _:
            return content[:start] + choose.choice(tokens) + content[end:]


def _with_value(content: bytes, choose: random.Random, value: bytes) -> bytes:
    """A JSON value replaced, where there is one."""
    colon = content.find(b":", choose.randint(0, len(content)))
    ends = [at for at in (content.find(mark, colon) for mark in (b",", b"}", b"]")) if at > 0]
    if colon < 0 or not ends:
        return content + value
    return content[: colon + 1] + value + content[min(ends) :]
