"""Which files are the checkpoint, as transformers decides it, and what leads out of a wrong one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from phibuild.model.errors import SourceError
from phibuild.source.files import check_index, find_files
from tests.source.checkpoints import (
    a_checkpoint,
    edit_json,
    in_two_shards,
    write_index,
    write_json,
    write_shard,
)

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n"
INDEX = "model.safetensors.index.json"
Edit = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint."""
    return a_checkpoint(tmp_path / "models" / "Phi-3")


def shards_of(folder: Path) -> list[str]:
    return [path.name for path in find_files(folder).shards]


def error_of(folder: Path) -> SourceError:
    with pytest.raises(SourceError) as refusal:
        find_files(folder)
    assert refusal.value.hint
    return refusal.value


# The weights


def test_one_file_goes_before_older_shards_and_their_index(folder: Path) -> None:
    write_shard(folder / "model-00001-of-00001.safetensors", {"old": b"1"})
    write_json(folder / INDEX, {"weight_map": {"old": "model-00001-of-00001.safetensors"}})
    assert shards_of(folder) == ["model.safetensors"]
    assert folder / INDEX not in find_files(folder).documents


def test_one_file_goes_before_the_index_of_shards_that_are_gone(folder: Path) -> None:
    write_index(folder, one="1", two="2")
    assert shards_of(folder) == ["model.safetensors"]


def test_an_index_decides_which_shards_there_are(folder: Path) -> None:
    in_two_shards(folder)
    write_shard(folder / "other.safetensors", {"other": b"1"})
    write_shard(folder / "adapter_model.safetensors", {"lora": b"1"})
    files = find_files(folder)
    assert [path.name[:11] for path in files.shards] == ["model-00001", "model-00002"]
    assert folder / INDEX in files.documents


def test_the_config_may_name_the_file(folder: Path) -> None:
    write_shard(folder / "mine.safetensors", {"mine": b"1"})
    edit_json(folder / "config.json", transformers_weights="mine.safetensors")
    assert shards_of(folder) == ["mine.safetensors"]
    edit_json(folder / "config.json", transformers_weights="../mine.safetensors")
    assert error_of(folder).code == "PHI105"


@pytest.mark.parametrize("name", ["all-of-it.safetensors", "model-00001-of-00001.safetensors"])
def test_weights_without_an_index_are_clear_if_there_is_nothing_else(
    folder: Path, name: str
) -> None:
    (folder / "model.safetensors").rename(folder / name)
    assert shards_of(folder) == [name]
    write_shard(folder / "other.safetensors", {"x": b"1"})
    error = error_of(folder)
    assert (error.code, name in error.message) == ("PHI114", True)


@pytest.mark.parametrize("name", ["consolidated.safetensors", "adapter_model.safetensors"])
def test_what_transformers_never_loads_as_a_model_is_not_one(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    assert error_of(folder).code == "PHI114"


def test_a_shard_of_the_index_that_is_missing_is_named(folder: Path) -> None:
    in_two_shards(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    error = error_of(folder)
    assert error.code == "PHI101"
    assert "lacks 1 of 2 shards: model-00002" in error.message


@pytest.mark.parametrize(
    ("index", "code"),
    [
        ({"weight_map": {"one": "../x.safetensors"}}, "PHI105"),
        ({"weight_map": {"one": "/x.safetensors"}}, "PHI105"),
        ({"weight_map": {"one": 1}}, "PHI102"),
        ({"weight_map": {"one": "pytorch_model.bin"}}, "PHI104"),
        ({"weight_map": {}}, "PHI102"),
        ({"weight_map": []}, "PHI102"),
        ({}, "PHI102"),
        ([], "PHI103"),
    ],
)
def test_an_index_that_is_none_is_refused(folder: Path, index: object, code: str) -> None:
    in_two_shards(folder)
    write_json(folder / INDEX, index)
    assert error_of(folder).code == code


def test_an_index_that_disagrees_with_its_shards_is_refused(folder: Path) -> None:
    in_two_shards(folder)
    write_index(folder, one="1", two="1", three="2")
    files = find_files(folder)
    held = dict(zip(files.shards, (["one"], ["two"]), strict=True))
    with pytest.raises(SourceError, match=r"'two' lies in model-00001.*but it lies in model-00002"):
        check_index(files, held)
    held[files.shards[0]].append("two")
    with pytest.raises(SourceError, match=r"'three'.* but no shard has it") as refusal:
        check_index(files, held)
    assert refusal.value.code == "PHI102"


# Files that are not what they should be


def replace_by_pointer(folder: Path, name: str) -> None:
    (folder / name).write_text(POINTER)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer.model", "model.safetensors"]
)
def test_a_git_lfs_pointer_is_named_with_the_cure(folder: Path, name: str) -> None:
    replace_by_pointer(folder, name)
    error = error_of(folder)
    assert error.code == "PHI113"
    assert name in error.message
    assert "git lfs pull" in error.hint


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "model.safetensors"])
def test_an_empty_file_or_a_folder_in_its_place_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    assert "is empty" in error_of(folder).message
    (folder / name).unlink()
    (folder / name).mkdir()
    assert "is a folder where a file belongs" in error_of(folder).message


def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")
    assert error_of(folder).code == "PHI103"


def in_hub_cache(folder: Path) -> tuple[Path, Path]:
    """The root of a hub cache's model, and its snapshot, of links to blobs."""
    root = folder.parent / "models--microsoft--Phi-3"
    snapshot = root / "snapshots" / "abc"
    (root / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc")
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(root / "blobs" / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    return root, snapshot


def test_links_into_the_blobs_of_a_hub_cache_are_the_files(folder: Path) -> None:
    _, snapshot = in_hub_cache(folder)
    assert shards_of(snapshot) == ["model.safetensors"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_link_whose_blob_is_gone_is_named(folder: Path, name: str) -> None:
    _, snapshot = in_hub_cache(folder)
    (snapshot / name).resolve().unlink()
    error = error_of(snapshot)
    assert error.code == "PHI113"
    assert name in error.message
    assert "hf download" in error.hint


def test_a_folder_of_templates_that_is_a_link_out_is_refused(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "x.jinja").write_text("secret")
    (folder / "additional_chat_templates").symlink_to(outside)
    assert error_of(folder).code == "PHI105"


# Folders that are not a checkpoint


def test_the_root_of_a_hub_cache_leads_to_its_snapshot(folder: Path) -> None:
    root, snapshot = in_hub_cache(folder)
    assert str(snapshot) in error_of(root).hint
    (root / "refs" / "main").unlink()
    assert str(snapshot) in error_of(root).hint
    assert str(snapshot) in error_of(root.parent).hint
    shutil.rmtree(root / "snapshots" / "abc")
    assert "snapshots" in error_of(root).hint


def test_an_adapter_without_its_model_leads_to_merging(folder: Path) -> None:
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": "microsoft/Phi-3"})
    assert shards_of(folder) == ["model.safetensors"]
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    assert "adapter of microsoft/Phi-3" in error_of(folder).message
    (folder / "config.json").unlink()
    error = error_of(folder)
    assert error.code == "PHI114"
    assert "merge_and_unload" in error.hint
    (folder / "adapter_config.json").write_text("{")
    assert error_of(folder).code == "PHI114"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("models/Phi-3/config.json", "name its folder: "),
        ("models/Phi-3/model.safetensors", "name its folder: "),
        ("models/x.gguf", "download the original model"),
        ("models/phi-3", "did you mean"),
        ("models/Phi-33", "did you mean"),
        ("models/other", "the path of a folder"),
        ("microsoft/Phi-4-mini-instruct", "hf download microsoft/Phi-4-mini-instruct --local-dir"),
        ("models", "name a checkpoint inside the folder: "),
    ],
)
def test_a_path_that_is_no_checkpoint_leads_to_one(
    tmp_path: Path, folder: Path, path: str, hint: str
) -> None:
    (folder.parent / "x.gguf").write_bytes(b"GGUF")
    if path == "models":
        (folder.parent / "x.gguf").unlink()
    assert hint in error_of(tmp_path / path).hint


@pytest.mark.parametrize("name", ["phi.gguf", "model.onnx", "openvino_model.xml"])
def test_a_model_in_another_format_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert "phibuild builds from a checkpoint" in error_of(tmp_path).message


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    error = error_of(folder)
    assert error.code == "PHI101"
    assert "save_pretrained" in error.hint
    (folder / "tokenizer.model").write_bytes(b"pieces")
    assert find_files(folder).has("tokenizer.model")


def test_pickled_weights_alone_lead_to_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert error_of(folder).code == "PHI104"
