"""Third-party text, made safe for a terminal."""

from __future__ import annotations

import pytest

from phibuild.model.errors import PhiError
from phibuild.model.text import brief, printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Phi-3.5 é 日本 😀 [red]", "Phi-3.5 é 日本 😀 [red]"),
        ("a\u200db", "a\u200db"),  # joiners belong to many scripts
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("name\u202egnp.exe", "name\\u202egnp.exe"),
        ("\udcff", "\\udcff"),
        ("a\\x1b", "a\\x1b"),
    ],
)
def test_what_a_terminal_would_obey_is_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines() -> None:
    assert printable_lines("a\n\x1bb\n") == "a\n\\x1bb\n"
    assert str(PhiError("a\x1b", hint="b\x07", code="PHI101")) == "[PHI101] a\\x1b\n  hint: b\\x07"


def test_a_value_is_shown_in_brief() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    assert brief("x") == "'x'"
    assert len(brief("x" * 1000)) < 120
    assert brief(10**5000) == "a value of the type int"
    assert brief(Odd()) == "a value of the type Odd"
