"""Third-party text, made safe for a terminal."""

from __future__ import annotations

import re

_LONGEST = 100
_CONTROLS = (
    "[\x00-\x1f\x7f-\x9f\u2028\u2029"  # control characters, ends of lines
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # changes of the direction of writing
    "\ud800-\udfff]"  # halves of characters, and the bytes of names that are not UTF-8
)


def printable(text: str) -> str:
    """The text in one line, with control characters as escapes: \\x1b, \\n."""
    return text if text.isprintable() else re.sub(_CONTROLS, _escape, text)


def printable_lines(text: str) -> str:
    """The same for each line of a text."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def brief(value: object) -> str:
    """A value as Python writes it, cut short."""
    try:
        text = printable(repr(value))
    except Exception:  # a third-party class may raise anything
        return f"a value of the type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _escape(character: re.Match[str]) -> str:
    return ascii(character[0])[1:-1]
