"""Sizes and durations as people write and read them."""

import pytest

from phibuild.model.sizes import parse_size, show_seconds, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("2.5 GB", 2_500_000_000), ("512 MiB", 512 << 20), ("7", 7), ("1kb", 1000), (12, 12)],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1 GB", "1 XB", "1,5 GB"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


def test_sizes_are_shown_with_three_digits() -> None:
    assert [show_size(n) for n in (7, 999, 2_390_000_000, 3_500_000_000_000)] == [
        "7 B",
        "999 B",
        "2.39 GB",
        "3.5 TB",
    ]


def test_durations_are_shown_as_people_say_them() -> None:
    assert [show_seconds(n) for n in (0.42, 38, 125, 4320)] == [
        "0.4 s",
        "38 s",
        "2 min 05 s",
        "1 h 12 min",
    ]
