"""Whatever a folder holds in the place of a checkpoint: it is read and can be built by each
backend, or there is one error with a code and a hint, in bounded memory and time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from phibuild.engine.declaration import Conversion, model_facts
from phibuild.model.action import steps_of
from phibuild.model.errors import RecipeError
from phibuild.model.recipe import parse_recipe
from phibuild.registry import load_registry
from phibuild.source import lay_out, read_checkpoint
from phibuild.source.summary import summarize
from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.bounded import outcome
from tests.fuzz.seeds import NoMemory
from tests.source.hostile import Hostile, hostile

RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "GGUF": {"quant": "Q4_0"},
        "OnnxGenAI": {"precision": "int4", "execution_provider": "cpu"},
        "OpenVINO": {"precision": "int4"},
        "MLX": {"precision": "int4"},
    }
)
ALL = tuple(hostile())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all of them are made of."""
    folder = tmp_path_factory.mktemp("hostile") / "good"
    return write_checkpoint(folder, FAMILIES["phi-3.5"], layers=1, shards=2)


def read_and_declare(folder: Path) -> None:
    """All that happens when an SConstruct is read, and what a worker is shown."""
    checkpoint = read_checkpoint(folder, NoMemory())
    summarize(checkpoint)
    facts, refusals = model_facts(checkpoint), []
    for builder, fields in RECIPES.items():
        backend = load_registry().backends[builder]
        recipe = parse_recipe(backend.recipe, fields, builder=builder)
        try:
            assert steps_of(Conversion(backend, recipe, {}).plan(facts))
        except RecipeError as error:
            refusals.append(error)
    slices = ("architecture", "tokenizer", "chat_template", "generation")
    lay_out(checkpoint, slices, folder.parent / "view")
    if refusals:
        raise refusals[0]


def test_there_are_more_than_enough_and_each_has_its_own_name() -> None:
    assert len({case.name for case in ALL}) == len(ALL) > 150


def test_the_good_one_is_right(good: Path) -> None:
    assert outcome(lambda: read_and_declare(good)) == "right"


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_a_hostile_checkpoint_is_read_or_refused(good: Path, tmp_path: Path, case: Hostile) -> None:
    folder = tmp_path / "m"
    shutil.copytree(good, folder, copy_function=os.link)
    case.edit(folder)
    result = outcome(lambda: read_and_declare(folder))
    assert case.may_be_right or result != "right"


@pytest.mark.parametrize(
    "name",
    ["", ".", "x" * 5000, "a/" * 2500, "a\0b", "a\nb", "\x1b[2J", "\udcff", "pipe", "socket/x"],
)
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert outcome(lambda: read_and_declare(tmp_path / name)) in ("PHI101", "PHI103")
