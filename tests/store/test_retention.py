"""Which results stay: pinned ones, those in place, those used last, with what they were made of."""

from __future__ import annotations

from phibuild.store.retention import ResultUse, Rule, kept

SIZES = {"a": 100, "b": 100, "c": 100, "shared": 50}
RESULTS = {
    "a": ResultUse((), ("a", "shared"), used=1, bytes=10),
    "b": ResultUse((), ("b", "shared"), used=2, bytes=10),
    "c": ResultUse((), ("c",), used=3, bytes=10),
}


def names(results: dict[str, ResultUse] = RESULTS, **rule: object) -> str:
    return "".join(sorted(kept(results, SIZES, Rule(**rule))))  # type: ignore[arg-type]


def test_without_a_rule_all_stay() -> None:
    assert names() == "abc"


def test_unused_ones_go_unless_they_are_pinned_or_in_place() -> None:
    assert names(since=3) == "c"
    assert names(since=3, pinned={"a"}) == "ac"
    assert names(since=3, in_place={"b"}) == "bc"


def test_the_least_recently_used_go_first_where_there_is_no_room() -> None:
    assert names(room=110) == "c"
    assert names(room=270) == "bc"
    assert names(room=380) == "abc"  # what two of them share takes its room once
    assert names(room=379) == "bc"


def test_those_in_place_come_before_those_used_last() -> None:
    assert names(room=160, in_place={"a"}) == "a"


def test_those_in_place_go_where_there_is_no_room_and_pinned_ones_do_not() -> None:
    assert names(room=0, in_place={"a", "b", "c"}) == ""
    assert names(room=0, pinned={"a"}, in_place={"b"}) == "a"


def test_one_that_is_too_large_does_not_drive_out_the_others() -> None:
    large = RESULTS | {"d": ResultUse((), ("c",), used=4, bytes=10_000)}
    assert names(large, room=110) == "c"


def test_what_a_result_was_made_of_stays_with_it() -> None:
    """Else its key is not known any more."""
    chain = {
        "b": ResultUse((), ("b",), used=1, bytes=10),
        "a": ResultUse(("b", "gone"), ("a",), used=5, bytes=10),
        "c": ResultUse((), ("c",), used=3, bytes=10),
    }
    assert names(chain, since=5) == "ab"
    assert names(chain, room=220) == "ab"
    assert names(chain, room=219) == "c"
