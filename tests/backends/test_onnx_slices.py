"""ONNX: what an edit costs, and that weights and sidecar together are what the builder makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.backends.slices import (
    EDITS,
    FAMILY,
    NOTHING,
    SIDECAR,
    WEIGHTS,
    Edited,
    artifact_of,
    build_families,
    edit_all,
    files_of,
    run_toolkit,
    same_tokenizer,
)

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Edited:
    return edit_all("onnx", tmp_path_factory.mktemp("onnx") / "edited")


def test_a_clean_build_runs_both_actions(edited: Edited) -> None:
    assert edited.before.actions == ["onnx.weights", "onnx.sidecar"]


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_runs_the_action_that_reads_it(edited: Edited, name: str) -> None:
    expected = {**dict.fromkeys(NOTHING), **dict.fromkeys(SIDECAR, "onnx.sidecar")}
    expected |= dict.fromkeys(WEIGHTS, "onnx.weights")
    assert edited.rows[name].actions == ([expected[name]] if expected[name] else [])


@pytest.mark.parametrize("name", EDITS)
def test_after_an_edit_the_artifact_is_that_of_a_clean_build(edited: Edited, name: str) -> None:
    assert edited.rows[name].tree == edited.clean[name]


def test_edits_leave_their_mark_where_they_belong(edited: Edited) -> None:
    """The rows above are of edits that the artifact shows, but for the last."""
    trees = [edited.before.tree, *(row.tree for row in edited.rows.values())]
    changed = {
        name: {path for path in before.keys() | after if before.get(path) != after.get(path)}
        for name, before, after in zip(EDITS, trees, trees[1:], strict=False)
    }
    assert changed == {name: set() for name in NOTHING} | {
        "chat template": {"chat_template.jinja"},
        "ends of text": {"genai_config.json"},
        "ids of config.json": set(),  # generation_config.json has them too, and goes before
        "sampling": {"genai_config.json"},
        "no generation_config.json": {"genai_config.json"},
        "added token": {"tokenizer.json"},
        "merges": {"tokenizer.json"},
        "tokenizer respelt": set(),
        "one tensor": {"model.onnx.data"},
    }


BY_HAND = """
import sys
from importlib import import_module
import_module("onnxruntime_genai.models")
builder = import_module("builder")
for source, out in zip(sys.argv[1::2], sys.argv[2::2]):
    place = ("", source, out, "int4", "cpu", out + "-cache")
    builder.create_model(*place, **builder.parse_extra_options(*place, []))
"""


def test_an_artifact_is_what_the_builder_makes_at_once(edited: Edited, tmp_path: Path) -> None:
    """Of the checkpoint as it is, by the builder's own command line."""
    project = build_families("onnx", tmp_path, ["phi-2"])
    made = {FAMILY: edited.artifact, "phi-2": artifact_of(project, "onnx", "phi-2")}
    sources = {FAMILY: edited.source, "phi-2": tmp_path / "phi-2"}
    by_hand = {family: tmp_path / f"{family}-by-hand" for family in made}
    run_toolkit("onnx", BY_HAND, *(one for f in made for one in (sources[f], by_hand[f])))
    for family, artifact in made.items():
        ours, theirs = files_of(artifact), files_of(by_hand[family])
        assert ours.keys() == theirs.keys()
        for name in ours.keys() & {"model.onnx", "model.onnx.data", "chat_template.jinja"}:
            assert ours[name].read_bytes() == theirs[name].read_bytes(), (family, name)
        for name in ("genai_config.json", "tokenizer_config.json"):
            assert json.loads(ours[name].read_bytes()) == json.loads(theirs[name].read_bytes())
        assert same_tokenizer(ours["tokenizer.json"], theirs["tokenizer.json"])
