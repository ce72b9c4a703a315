"""A digest names bytes, and a JSON value by its canonical form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phibuild.model.digest import Digest, digest_of_value


def test_the_digest_of_nothing_is_the_published_sha256_of_nothing() -> None:
    assert str(Digest.of(b"")) == (
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )


@given(st.binary())
def test_the_text_of_a_digest_reads_back(data: bytes) -> None:
    assert Digest.parse(str(Digest.of(data))) == Digest.of(data)


@pytest.mark.parametrize("text", ["", "sha256:", "md5:" + "0" * 32, "sha256:" + "G" * 64])
def test_other_text_is_not_a_digest(text: str) -> None:
    with pytest.raises(ValueError, match="is not a digest"):
        Digest.parse(text)


def test_key_order_and_white_space_do_not_matter() -> None:
    assert digest_of_value({"a": 1, "b": [2]}) == digest_of_value({"b": [2], "a": 1})


def test_the_digest_of_a_value_is_pinned() -> None:
    """A format: were it to move, every result in every store would be lost."""
    assert digest_of_value([["a", "1"]]).hex == (
        "57bfe7a5665fd3e5b7872b4dc4b0752144714ed463048a8448c04a15e4596dba"
    )
