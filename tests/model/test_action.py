"""What one action takes of another's result."""

from __future__ import annotations

from pathlib import Path

import pytest

from phibuild.model.action import Action, Part, input_tree
from phibuild.model.digest import Digest
from phibuild.model.errors import ActionError
from phibuild.model.tree import Entry, Tree

MAKER = Action(name="maker", worker=Path("worker.py"), toolchain="host")
RESULT = Tree((Entry("model/weights", Digest.of(b"w"), 1, False),))


def test_a_part_is_what_lies_under_its_path() -> None:
    assert [entry.path for entry in input_tree(Part(MAKER, "model"), RESULT).entries] == ["weights"]
    assert input_tree(MAKER, RESULT) == RESULT


def test_a_part_that_was_not_made_is_an_error_that_names_it() -> None:
    with pytest.raises(ActionError) as caught:
        input_tree(Part(MAKER, "base/config.json"), RESULT)
    assert caught.value.code == "PHI403"
    assert "the result of maker has no base/config.json" in caught.value.message
