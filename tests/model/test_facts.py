"""The key and the explanation read one list, so they cannot disagree."""

from hypothesis import given
from hypothesis import strategies as st

from phibuild.model.facts import Difference, Fact, action_key, differences

names = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6)


def facts_of(values: dict[str, str]) -> list[Fact]:
    return [Fact(name, value) for name, value in values.items()]


@given(names, names)
def test_keys_are_equal_exactly_when_nothing_differs(
    first: dict[str, str], second: dict[str, str]
) -> None:
    before, after = facts_of(first), facts_of(second)
    assert (action_key(before) == action_key(after)) == (differences(before, after) == ())


@given(names)
def test_the_order_of_facts_does_not_matter(values: dict[str, str]) -> None:
    assert action_key(facts_of(values)) == action_key(reversed(facts_of(values)))


def test_a_difference_reads_like_a_sentence() -> None:
    digest = "sha256:" + "3f2a" * 16
    assert str(Difference("chat_template", digest, "sha256:" + "9c41" * 16)) == (
        "chat_template changed: 3f2a3f2a… → 9c419c41…"
    )
    assert str(Difference("recipe.sym", None, "true")) == "recipe.sym is new: true"
    assert str(Difference("recipe.sym", "true", None)) == "recipe.sym is gone: true"
