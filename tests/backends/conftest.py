"""Projects of tiny checkpoints for tests that run the real backends.

They share the store of the tests (tests/own_store.py), where toolchains are installed once;
a checkpoint's seed is drawn from the test's name and the clock, so that no result is found that an
earlier run left there.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.testing.checkpoints import FAMILIES, write_checkpoint
from tests.conftest import Project

Tiny = Callable[..., Path]
SETTINGS = "generation_config.json"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed that no earlier test or run used."""
    given = os.environ.get("PHIBUILD_TEST_SEED")
    seed = int(given or zlib.crc32(f"{request.node.nodeid} {time.time_ns()}".encode()))
    print(f"PHIBUILD_TEST_SEED={seed} repeats this test with the same weights")
    return seed


@pytest.fixture
def tiny(project_of_tiny: Project, seed: int) -> Tiny:
    """Write a tiny checkpoint of a family into the project. Its tokenizer is its family's, which
    is converted once for all tests, or its own, for tests that count all actions."""

    def write(
        family: str, name: str = "tiny", own_tokenizer: bool = False, **changes: object
    ) -> Path:
        options: dict[str, object] = {"seed": seed, "layers": 2, **changes}
        folder = project_of_tiny.folder / name
        write_checkpoint(folder, FAMILIES[family], **options)  # type: ignore[arg-type]
        return with_mark(folder, seed) if own_tokenizer else marked(folder, SETTINGS, seed)

    return write


def with_mark(folder: Path, seed: int) -> Path:
    """Make the small files of a checkpoint unique too: a seed changes only its weights."""
    return marked(marked(folder, SETTINGS, seed), "tokenizer_config.json", seed)


def marked(folder: Path, name: str, seed: int) -> Path:
    """The folder, after adding a field to one of its JSON files that no other test has."""
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of_test": seed}, indent=2))
    return folder


@pytest.fixture
def project_of_tiny(make_project: Callable[[str], Project]) -> Project:
    """The project that `tiny` writes into."""
    return make_project("project")
