"""A checkpoint is read in slices: each digest moves with its own part and with nothing else."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from phibuild.model.errors import SourceError
from phibuild.source import Checkpoint, lay_out, read_checkpoint
from phibuild.store import Index
from tests.source.checkpoints import a_checkpoint, write_json, write_shard


@pytest.fixture
def memory(tmp_path: Path) -> Index:
    return Index(tmp_path / "index.sqlite")


def changed_slices(folder: Path, memory: Index, before: Checkpoint) -> set[str]:
    after = read_checkpoint(folder, memory)
    return {name for name, digest in after.slices.items() if digest != before.slices[name]}


def test_each_edit_moves_its_own_slice(tmp_path: Path, memory: Index) -> None:
    folder = a_checkpoint(tmp_path / "m")
    before = read_checkpoint(folder, memory)
    edits = {
        "chat_template": lambda: write_json(
            folder / "tokenizer_config.json", {"chat_template": "{{ b }}", "legacy": False}
        ),
        "tokenizer": lambda: write_json(folder / "tokenizer.json", {"model": {"vocab": {"b": 0}}}),
        "generation": lambda: write_json(folder / "generation_config.json", {"eos_token_id": 2}),
        "architecture": lambda: write_json(
            folder / "config.json", {"model_type": "other", "eos_token_id": 1, "hidden_size": 8}
        ),
        "weights": lambda: write_shard(folder / "model.safetensors", {"one": b"1", "two": b"23"}),
    }
    for name, edit in edits.items():
        shutil.rmtree(folder)
        a_checkpoint(folder)
        edit()
        assert changed_slices(folder, memory, before) == {name}


def test_white_space_cosmetics_cards_and_shards_move_nothing(tmp_path: Path, memory: Index) -> None:
    folder = a_checkpoint(tmp_path / "m")
    before = read_checkpoint(folder, memory)
    for name in ("config.json", "tokenizer.json", "generation_config.json"):
        write_json(folder / name, json.loads((folder / name).read_text()), indent=4)
    write_json(
        folder / "config.json",
        {"transformers_version": "9", "eos_token_id": 1, "model_type": "other"},
    )
    (folder / "README.md").write_text("about")
    (folder / "model.safetensors").unlink()
    write_shard(folder / "model-00001-of-00002.safetensors", {"two": b"22"})
    write_shard(folder / "model-00002-of-00002.safetensors", {"one": b"1"})
    assert changed_slices(folder, memory, before) == set()


def test_a_template_in_its_own_file_is_the_same_template(tmp_path: Path, memory: Index) -> None:
    folder = a_checkpoint(tmp_path / "m")
    before = read_checkpoint(folder, memory)
    write_json(folder / "tokenizer_config.json", {"legacy": False})
    (folder / "chat_template.jinja").write_text("{{ a }}")
    assert changed_slices(folder, memory, before) == set()


def test_a_view_shows_the_declared_slices_and_nothing_else(tmp_path: Path, memory: Index) -> None:
    checkpoint = read_checkpoint(a_checkpoint(tmp_path / "m"), memory)
    lay_out(checkpoint, ["architecture"], tmp_path / "view")
    assert [path.name for path in (tmp_path / "view").iterdir()] == ["config.json"]
    assert json.loads((tmp_path / "view" / "config.json").read_text()) == {"model_type": "other"}


def test_views_of_equal_slices_are_equal(tmp_path: Path, memory: Index) -> None:
    model = a_checkpoint(tmp_path / "one")
    other = a_checkpoint(tmp_path / "other", transformers_version="9")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    write_json(other / "tokenizer.json", tokenizer, indent=3)
    texts = []
    for folder in (model, other):
        view = tmp_path / f"{folder.name}-view"
        slices = ["architecture", "tokenizer", "chat_template", "generation"]
        lay_out(read_checkpoint(folder, memory), slices, view)  # type: ignore[arg-type]
        texts.append({path.name: path.read_bytes() for path in view.iterdir()})
    assert texts[0] == texts[1]
    assert texts[0]["chat_template.jinja"] == b"{{ a }}"


def test_named_templates_are_shown_without_the_tokenizer(tmp_path: Path, memory: Index) -> None:
    named = [{"name": "default", "template": "{{ a }}"}]
    folder = a_checkpoint(tmp_path / "m")
    write_json(folder / "tokenizer_config.json", {"chat_template": named, "legacy": False})
    lay_out(read_checkpoint(folder, memory), ["chat_template"], tmp_path / "view")
    assert [path.name for path in (tmp_path / "view").iterdir()] == ["tokenizer_config.json"]
    shown = json.loads((tmp_path / "view" / "tokenizer_config.json").read_text())
    assert shown == {"chat_template": named}


def damage_missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


def damage_index(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"one": "../x.safetensors"}})


def damage_truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def damage_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def damage_link(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    outside = folder.parent / "secret.json"
    outside.write_text("{}")
    (folder / "tokenizer.json").symlink_to(outside)


def damage_config(folder: Path) -> None:
    write_json(folder / "config.json", {"hidden_size": 1})


def damage_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def damage_template(folder: Path) -> None:
    named = [{"name": "../../default", "template": "{{ a }}"}]
    write_json(folder / "tokenizer_config.json", {"chat_template": named})


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (damage_template, "PHI105"),
        (damage_missing_shard, "PHI101"),
        (damage_index, "PHI105"),
        (damage_truncate, "PHI102"),
        (damage_pickle, "PHI104"),
        (damage_link, "PHI105"),
        (damage_config, "PHI103"),
        (damage_json, "PHI103"),
        (shutil.rmtree, "PHI101"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(
    tmp_path: Path, memory: Index, damage: Any, code: str
) -> None:
    folder = a_checkpoint(tmp_path / "m")
    damage(folder)
    with pytest.raises(SourceError) as refusal:
        read_checkpoint(folder, memory)
    assert refusal.value.code == code


def test_links_into_the_blobs_of_a_hub_cache_are_followed(tmp_path: Path, memory: Index) -> None:
    snapshot = tmp_path / "models--x" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    a_checkpoint(snapshot)
    blobs = tmp_path / "models--x" / "blobs"
    blobs.mkdir()
    (snapshot / "model.safetensors").rename(blobs / "123")
    (snapshot / "model.safetensors").symlink_to("../../blobs/123")
    assert read_checkpoint(snapshot, memory).parameters == 3
