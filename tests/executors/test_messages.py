"""Lines from workers: each is a message, nothing, or one clear refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phibuild.executors.messages import (
    Failure,
    NotOfTheProtocol,
    Progress,
    Recall,
    Remember,
    SystemFailure,
    Written,
    read_message,
)

SHA256 = "ab" * 32
GOOD = {
    Progress(0.5, "half"): {"progress": 0.5, "text": "half"},
    Progress(None, ""): {"progress": None, "text": ""},
    Recall(("a", "b")): {"recall": ["a", "b"]},
    Remember(0, "key", ".", 8, 4, SHA256): {"remember": [0, "key", ".", 8, 4, SHA256]},
    Written(1, "a/b.bin", SHA256): {"written": [1, "a/b.bin", SHA256]},
    Failure("PHI401", "no", "do"): {"error": {"code": "PHI401", "message": "no", "hint": "do"}},
    SystemFailure(28): {"errno": 28, "text": "No space left on device"},
}


@pytest.mark.parametrize("message", GOOD, ids=lambda message: type(message).__name__)
def test_what_a_worker_sends_is_read(message: object) -> None:
    assert read_message(json.dumps(GOOD[message]).encode()) == message  # type: ignore[index]


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"free(): invalid pointer", b"\xff\xfe\x00", b"[1, 2]", b"5", b'"text"', b"null"),
        *(b'{"progr', b'{"of a later protocol": 1}', b"[" * 100_000, b'{"a":' * 100_000, b"\x00"),
        b"1" * 5000,
    ],
    ids=lambda line: repr(line[:12]),
)
def test_what_is_no_message_is_passed_over(line: bytes) -> None:
    assert read_message(line) is None


@pytest.mark.parametrize(
    "document",
    [
        *({"progress": "half", "text": ""}, {"progress": 0.5}, {"progress": True, "text": ""}),
        *({"recall": "key"}, {"recall": [1]}, {"recall": None}, {"recall": {"key": 1}}),
        *({"written": [0, ".", "abc"]}, {"written": [-1, ".", SHA256]}, {"written": []}),
        *({"written": [0, "/dev/zero", SHA256]}, {"written": [0, "a/../../b", SHA256]}),
        *({"remember": [0, "key", ".", 0.5, 1, SHA256]}, {"remember": 5}),
        {"remember": [0, "key", ".", 1 << 70, 1, SHA256]},
        *({"error": "text"}, {"error": {"code": "E1", "message": "", "hint": ""}}),
        {"errno": "28"},
    ],
    ids=str,
)
def test_a_message_of_another_form_is_refused(document: Any) -> None:
    with pytest.raises(NotOfTheProtocol):
        read_message(json.dumps(document).encode())


def test_a_damaged_line_that_somebody_waits_for_is_refused() -> None:
    with pytest.raises(NotOfTheProtocol):
        read_message(b'stray{"recall": ["a"]}')


def test_what_is_not_a_number_is_no_share_of_the_work() -> None:
    assert read_message(b'{"progress": NaN, "text": ""}') == Progress(None, "")
    assert read_message(b'{"progress": -1e999, "text": ""}') == Progress(None, "")
    assert read_message(b'{"progress": 7, "text": ""}') == Progress(1.0, "")


def test_text_can_be_printed() -> None:
    read = read_message(rb'{"progress": 0, "text": "\ud800"}')
    assert isinstance(read, Progress)
    read.text.encode("utf-8")


@given(
    st.one_of(
        st.binary(),
        st.sampled_from([*GOOD.values()]).flatmap(
            lambda good: st.builds(
                lambda cut, more: json.dumps(good).encode()[:cut] + more,
                st.integers(0, 80),
                st.binary(max_size=20),
            )
        ),
    )
)
def test_whatever_comes_nothing_else_is_raised(line: bytes) -> None:
    try:
        read_message(line)
    except NotOfTheProtocol as refusal:
        assert len(str(refusal)) <= 200
