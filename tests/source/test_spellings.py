"""Each family in both spellings is the same model, and so is a resharded one."""

from pathlib import Path

import pytest

from phibuild.source import read_checkpoint
from phibuild.store import Index
from phibuild.testing.checkpoint_edits import reshard
from phibuild.testing.checkpoints import FAMILIES, Family, write_checkpoint


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_both_spellings_of_a_config_are_one_architecture(tmp_path: Path, family: Family) -> None:
    index = Index(tmp_path / "index.sqlite")
    older = read_checkpoint(write_checkpoint(tmp_path / "a", family, spelling="published"), index)
    newer = read_checkpoint(
        write_checkpoint(tmp_path / "b", family, spelling="transformers5"), index
    )
    assert older.documents.architecture == newer.documents.architecture
    for name in ("weights", "architecture", "chat_template"):
        assert older.slices[name] == newer.slices[name], name


def test_sharding_does_not_matter(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.sqlite")
    folder = write_checkpoint(tmp_path / "a", FAMILIES["phi-3"])
    before = read_checkpoint(folder, index).slices
    for shards in (3, 1, 2):
        reshard(folder, shards)
        assert read_checkpoint(folder, index).slices == before
