"""Text that others wrote, as a terminal may be given it."""

from __future__ import annotations

import re

_LONGEST = 100
_CONTROLS = (
    "[\x00-\x1f\x7f-\x9f\u2028\u2029"  # what a terminal obeys, ends of lines
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\ud800-\udfff]"  # halves of characters, and the bytes of names that are not UTF-8
)


def printable(text: str) -> str:
    """The text in one line, with all that a terminal would obey as an escape: \\x1b, \\n."""
    return text if text.isprintable() else re.sub(_CONTROLS, _escape, text)


def printable_lines(text: str) -> str:
    """The same of each line of a text."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def brief(value: object) -> str:
    """How a value is written in Python, cut short."""
    try:
        text = printable(repr(value))
    except Exception:  # whatever the class of a stranger raises
        return f"a value of the type {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _escape(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
