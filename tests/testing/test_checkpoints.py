"""The tiny checkpoints look like the published ones, and an edit changes what it says only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest
import safetensors
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from phibuild.testing._checkpoints.families import tensor_specs
from phibuild.testing._checkpoints.shards import read_tensors
from phibuild.testing._checkpoints.vocabularies import TEXT
from phibuild.testing.checkpoint_edits import (
    change_tensor,
    chat_template,
    reshard,
    respell,
    set_chat_template,
)
from phibuild.testing.checkpoints import FAMILIES, Family, random_size, write_checkpoint

TEXTS = (
    " ".join(TEXT.split()),
    "The capital of France is Paris.",
    "naïve café 🙂 xyzzy, 3141592 and  two spaces",
    "unbelievable overheating: singing, (parenthesis)",
)

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def a_checkpoint(folder: Path, family: Family = FAMILIES["phi-3"], **changes: Any) -> Path:
    return write_checkpoint(folder, family, **({"layers": 1} | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tensors(folder: Path) -> dict[str, dict[str, Any]]:
    """All tensors as the safetensors library reads them."""
    return {
        name: fields
        for path in folder.glob("*.safetensors")
        for name, fields in safetensors.deserialize(path.read_bytes())
    }


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


@every_family
def test_same_arguments_give_the_same_bytes(tmp_path: Path, family: Family) -> None:
    first = a_checkpoint(tmp_path / "first", family)
    assert contents(first) == contents(a_checkpoint(tmp_path / "second", family))


def test_bytes_are_the_same_on_every_machine(tmp_path: Path) -> None:
    files = contents(a_checkpoint(tmp_path))
    digests = {
        name: hashlib.sha256(files[name]).hexdigest()[:16]
        for name in ("model.safetensors", "tokenizer.json", "tokenizer.model")
    }
    assert digests == {
        "model.safetensors": "2e2bf8fffe652c15",
        "tokenizer.json": "b18429f864220fb5",
        "tokenizer.model": "e398af2b85449b61",
    }


def test_another_seed_gives_other_weights_of_the_same_layout(tmp_path: Path) -> None:
    first, second = (tensors(a_checkpoint(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert first.keys() == second.keys()
    assert all(first[name]["data"] != second[name]["data"] for name in first)


@every_family
def test_a_published_checkpoint_has_the_published_files(tmp_path: Path, family: Family) -> None:
    names = contents(a_checkpoint(tmp_path, family)).keys()
    expected = {
        "LICENSE",
        "README.md",
        "added_tokens.json",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    expected |= {"tokenizer.model"} if family.tokenizer == "phi-3" else {"vocab.json", "merges.txt"}
    assert names - {name for name in names if name.endswith(".py")} == expected


def test_spellings_differ_as_transformers_changed_them(tmp_path: Path) -> None:
    moe = FAMILIES["phi-3.5-moe"]
    old = read_json(a_checkpoint(tmp_path / "old", moe) / "config.json")
    new = read_json(a_checkpoint(tmp_path / "new", moe, spelling="transformers5") / "config.json")
    assert old["architectures"] == ["PhiMoEForCausalLM"]
    assert new["architectures"] == ["PhimoeForCausalLM"]
    assert {"rope_theta", "rope_scaling", "torch_dtype", "auto_map"} == old.keys() - new.keys()
    assert {"rope_parameters", "dtype", "pad_token_id"} == new.keys() - old.keys()
    assert new["rope_parameters"]["long_factor"] == old["rope_scaling"]["long_factor"]


@every_family
@pytest.mark.parametrize(("dtype", "name"), [("bf16", "BF16"), ("f16", "F16"), ("f32", "F32")])
def test_safetensors_reads_every_tensor(
    tmp_path: Path, family: Family, dtype: Any, name: str
) -> None:
    stored = tensors(a_checkpoint(tmp_path, family, dtype=dtype))
    assert {fields["dtype"] for fields in stored.values()} == {name}
    assert ("lm_head.weight" in stored) is not family.tied


def test_bf16_is_f32_rounded_to_nearest(tmp_path: Path) -> None:
    import numpy as np

    wide = tensors(a_checkpoint(tmp_path / "f32", dtype="f32"))
    narrow = tensors(a_checkpoint(tmp_path / "bf16", dtype="bf16"))
    for name, fields in wide.items():
        exact = np.frombuffer(fields["data"], "<f4")
        bits = np.frombuffer(narrow[name]["data"], "<u2").astype("<u4") << 16
        assert np.all(np.abs(bits.view("<f4") - exact) <= np.abs(exact) * 2.0**-8)


def test_a_vocabulary_that_a_backend_would_mistake_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 128"):
        a_checkpoint(tmp_path, vocab=1024)


@every_family
def test_text_survives_the_tokenizer(tmp_path: Path, family: Family) -> None:
    tokenizer = Tokenizer.from_file(str(a_checkpoint(tmp_path, family) / "tokenizer.json"))
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_sentencepiece_and_tokenizers_agree(tmp_path: Path) -> None:
    folder = a_checkpoint(tmp_path)
    model = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        assert model.encode(text) == tokenizer.encode(text).ids


@every_family
def test_special_ids_are_those_of_the_tokenizer(tmp_path: Path, family: Family) -> None:
    folder = a_checkpoint(tmp_path, family)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    settings = read_json(folder / "tokenizer_config.json")
    config = read_json(folder / "config.json")
    assert tokenizer.token_to_id(settings["eos_token"]) == config["eos_token_id"]
    assert tokenizer.token_to_id(settings["bos_token"]) == config["bos_token_id"]
    assert tokenizer.get_vocab_size() <= config["vocab_size"]


@pytest.mark.parametrize("shards", [2, 3, 7])
def test_resharding_keeps_tensors_and_all_else(tmp_path: Path, shards: int) -> None:
    folder = a_checkpoint(tmp_path)
    before, whole = contents(folder), tensors(folder)
    reshard(folder, shards)
    assert tensors(folder) == whole
    index = read_json(folder / "model.safetensors.index.json")
    assert index["weight_map"].keys() == whole.keys()
    assert len(list(folder.glob("*.safetensors"))) == shards
    reshard(folder, 1)
    assert contents(folder) == before


def test_shards_written_at_once_are_those_of_resharding(tmp_path: Path) -> None:
    folder = a_checkpoint(tmp_path / "later")
    reshard(folder, 3)
    assert contents(folder) == contents(a_checkpoint(tmp_path / "at once", shards=3))


def test_more_shards_than_tensors_are_refused(tmp_path: Path) -> None:
    folder = a_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="cannot be spread"):
        reshard(folder, 1 + len(read_tensors(folder)))


def test_changing_a_tensor_changes_that_tensor_until_done_again(tmp_path: Path) -> None:
    folder, name = a_checkpoint(tmp_path, shards=2), "model.layers.0.mlp.down_proj.weight"
    files, before = contents(folder), tensors(folder)
    change_tensor(folder, name)
    after = tensors(folder)
    assert {each for each in before if before[each] != after[each]} == {name}
    change_tensor(folder, name)
    assert contents(folder) == files


@pytest.mark.parametrize("spelling", ["published", "transformers5"])
def test_setting_the_chat_template_changes_one_file(tmp_path: Path, spelling: Any) -> None:
    folder = a_checkpoint(tmp_path, spelling=spelling)
    before, old = contents(folder), chat_template(folder)
    set_chat_template(folder, "{{ messages[0]['content'] }}")
    after = contents(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "tokenizer_config.json" if spelling == "published" else "chat_template.jinja"
    }
    set_chat_template(folder, old)
    assert contents(folder) == before


@every_family
def test_respelling_gives_what_is_written_in_that_spelling(tmp_path: Path, family: Family) -> None:
    other = a_checkpoint(tmp_path / "other", family, spelling="transformers5")
    folder = a_checkpoint(tmp_path / "folder", family)
    before = contents(folder)
    respell(folder, "transformers5")
    assert contents(folder) == contents(other)
    respell(folder, "published")
    assert contents(folder) == before


def test_respelling_keeps_an_edited_chat_template(tmp_path: Path) -> None:
    folder = a_checkpoint(tmp_path)
    set_chat_template(folder, "edited")
    respell(folder, "transformers5")
    assert chat_template(folder) == "edited"


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: reshard(folder, 1),
        lambda folder: change_tensor(folder, "model.norm.weight"),
        lambda folder: set_chat_template(folder, "edited"),
        lambda folder: respell(folder, "published"),
    ],
    ids=["reshard", "change_tensor", "set_chat_template", "respell"],
)
def test_edits_never_write_into_a_file(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    folder = a_checkpoint(tmp_path / "folder")
    before = contents(folder)
    (tmp_path / "linked").mkdir()
    for path in folder.iterdir():
        (tmp_path / "linked" / path.name).hardlink_to(path)
    edit(folder)
    assert contents(tmp_path / "linked") == before


@pytest.mark.parametrize("billions", [0.5, 1.1, 3.8])
def test_a_random_checkpoint_has_about_the_parameters_asked_for(billions: float) -> None:
    specs = tensor_specs(FAMILIES["phi-3"], random_size(billions))
    assert sum(prod(spec.shape) for spec in specs) == pytest.approx(billions * 1e9, rel=0.05)
