"""A tree stays inside itself and has one spelling."""

import pytest

from phibuild.model.digest import Digest
from phibuild.model.errors import StoreError
from phibuild.model.manifest import Manifest
from phibuild.model.tree import THE_FILE, Entry, Tree


def an_entry(path: str = "a.txt", data: bytes = b"a") -> Entry:
    return Entry(path, Digest.of(data), len(data))


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", ""])
def test_a_path_that_leaves_the_tree_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="leaves the tree"):
        Tree((an_entry(path),))


def test_entries_are_sorted_and_unique() -> None:
    with pytest.raises(ValueError, match="sorted"):
        Tree((an_entry("b"), an_entry("a")))
    with pytest.raises(ValueError, match="sorted"):
        Tree((an_entry("a"), an_entry("a")))


def test_a_single_file_has_the_digest_of_its_bytes() -> None:
    assert Tree((an_entry(THE_FILE, b"xyz"),)).digest == Digest.of(b"xyz")


def test_a_manifest_reads_back() -> None:
    manifest = Manifest("m.gguf", "GGUF", Digest.of(b"k"), 16, Tree((an_entry(THE_FILE),)))
    assert Manifest.from_text(manifest.to_text(), where="here") == manifest
    assert manifest.bits_per_weight == 0.5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"manifest": "phibuild-manifest/2"}'])
def test_another_text_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(StoreError, match=r"m\.phi\.json is not a phibuild manifest"):
        Manifest.from_text(text, where="m.phi.json")
